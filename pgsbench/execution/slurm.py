"""The engine on a cluster: runs as jobs of SLURM, through submitit.

A job gets names, never a run itself (`pgsbench.session.jobs`).
"""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from pgsbench.config.cluster_profiles import Profile
from pgsbench.errors import StudyError
from pgsbench.execution.folder import StudyFolder
from pgsbench.execution.runs import Watcher
from pgsbench.records.marks import Failure, Queued
from pgsbench.records.run_spec import RunSpec

#: Folder of jobs' scripts and output, in the study's folder.
JOBS = "jobs"
WAIT_SECONDS = 2.0
#: A job that SLURM does not know any more may have ended this moment.
GONE_SECONDS = 10.0
#: Characters of a job's output that are shown where it failed.
TAIL = 1000


def submit(
    jobs: Sequence[Callable[[], object]], profile: Profile, folder: Path, *, name: str, cluster: str = "slurm"
) -> list[str]:
    """Submit callables as one array of jobs; return the id of each.

    Args:
        jobs: What each does; it must pickle.
        profile: What each asks for.
        folder: The study's folder.
        name: Name of the jobs.
        cluster: An executor of submitit: ``slurm``, or ``local`` and ``debug`` for tests.

    Raises:
        StudyError: submitit is not installed, or SLURM refuses.
    """
    try:
        import submitit
    except ImportError:
        raise StudyError(
            "jobs are submitted by submitit, which is not installed",
            where="--on slurm",
            way_out="in a clone of pgsbench: pip install '.[slurm]'",
        ) from None
    try:
        executor = submitit.AutoExecutor(folder=folder / JOBS / "%j", cluster=cluster)
        executor.update_parameters(**_parameters(profile, name))
        with executor.batch():
            submitted = [executor.submit(job) for job in jobs]
    except (RuntimeError, OSError, submitit.core.utils.FailedJobError) as error:
        raise StudyError(f"SLURM took no jobs: {error}", where=name, way_out="see `sinfo`") from error
    return [str(job.job_id) for job in submitted]


def queued(job: str, folder: Path) -> Queued:
    """Return the mark of a run whose job was submitted from the study's folder."""
    return Queued(job, str(folder / JOBS / job))


def _parameters(profile: Profile, name: str) -> dict[str, Any]:
    asked = {
        "name": name,
        "timeout_min": profile.minutes,
        "cpus_per_task": profile.cpus,
        "gpus_per_node": profile.gpus or None,
        "mem_gb": profile.memory_gib,
        "slurm_partition": profile.partition,
        "slurm_account": profile.account,
        "slurm_qos": profile.qos,
        "slurm_constraint": profile.constraint,
        "slurm_setup": list(profile.setup) or None,
        "slurm_array_parallelism": profile.parallel,
        "slurm_additional_parameters": {"signal": f"USR1@{profile.save_seconds}", "requeue": True},
        "stderr_to_stdout": True,
    }
    return {key: value for key, value in asked.items() if value is not None}


def known_jobs() -> set[str] | None:
    """Return the ids of the jobs that SLURM has not ended, tasks of arrays each; None: it cannot be asked."""
    try:
        done = subprocess.run(
            ["squeue", "--noheader", "--array", "--format=%i"],
            capture_output=True,
            text=True,
            check=True,
            timeout=60,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return set(done.stdout.split())


def cancel(jobs: Sequence[str]) -> None:
    """Take jobs out of the queue, and ask those that run to save and end.

    Raises:
        StudyError: SLURM cannot be asked.
    """
    try:
        subprocess.run(["scancel", "--full", *jobs], check=True, capture_output=True, text=True, timeout=60)
    except (OSError, subprocess.SubprocessError) as error:
        raise StudyError(f"the jobs cannot be cancelled: {error}", where=" ".join(jobs)) from error


def wait_for(
    folder: StudyFolder, specs: Sequence[RunSpec], watcher: Watcher
) -> list[tuple[RunSpec, Exception]]:
    """Wait until runs that were submitted have ended, and return those that failed.

    A run whose job is gone without a word has failed, with the last of the job's output.
    """
    left, gone = {spec.id: spec for spec in specs}, dict[str, float]()
    failed: list[tuple[RunSpec, Exception]] = []
    while left:
        jobs = known_jobs()
        for spec in list(left.values()):
            run, marks = folder.directory(spec), folder.marks
            queued, failure = marks.queued(spec.id), marks.failure(spec.id)
            if run.holder:
                gone.pop(spec.id, None)
                watcher.on_step(spec, run.last_step(), spec.config.training.steps)
                continue
            if failure is None and folder.is_complete(spec):
                watcher.on_done(spec, False)
                del left[spec.id]
                continue
            if failure is None and (mark := folder.pruned().get(spec.label)):
                watcher.on_pruned(spec, mark.why)
                del left[spec.id]
                continue
            is_gone = jobs is not None and (queued is None or queued.job not in jobs)
            first = gone.setdefault(spec.id, time.monotonic()) if is_gone else None
            if jobs is not None and not is_gone:
                gone.pop(spec.id, None)
            if failure is None and first is not None and time.monotonic() - first > GONE_SECONDS:
                failure = Failure(f"its job ended without a word: {_tail(queued)}")
                marks.fail(spec.id, failure)
            if failure is not None:
                error = StudyError(failure.error, where=spec.name, way_out=failure.log)
                failed.append((spec, error))
                watcher.on_failed(spec, error)
                del left[spec.id]
        watcher.on_tick()
        time.sleep(WAIT_SECONDS if left else 0)
    return failed


def wait_for_jobs(
    folder: StudyFolder, jobs: Sequence[str], watcher: Watcher
) -> list[tuple[RunSpec, Exception]]:
    """Wait until jobs have ended that take what is next, and return the runs of the study that failed."""
    while (known := known_jobs()) is None or known & set(jobs):
        folder.refresh()
        for run in folder.runs.values():
            if folder.directory(run.spec).holder:
                steps = run.spec.config.training.steps
                watcher.on_step(run.spec, folder.directory(run.spec).last_step(), steps)
        watcher.on_tick()
        time.sleep(WAIT_SECONDS)
    folder.refresh()
    failed: list[tuple[RunSpec, Exception]] = []
    for spec in [run.spec for run in folder.runs.values()]:
        if failure := folder.marks.failure(spec.id):
            failed.append((spec, StudyError(failure.error, where=spec.name, way_out=failure.log)))
            watcher.on_failed(*failed[-1])
        elif folder.is_complete(spec):
            watcher.on_done(spec, False)
    return failed


def _tail(queued: Queued | None) -> str:
    found = sorted(Path(queued.log).glob(f"{queued.job}_*.out")) if queued else []
    return found[-1].read_text(errors="replace")[-TAIL:].strip() if found else "it left no output"
