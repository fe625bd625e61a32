"""The engine on a cluster: runs as jobs of SLURM, through submitit.

A job gets names, never a run itself (`pgsbench.session.jobs`).
"""

from __future__ import annotations

import pickle
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from pgsbench.config.cluster_profiles import Profile
from pgsbench.disk import leases
from pgsbench.errors import StudyError
from pgsbench.execution.folder import StudyFolder
from pgsbench.execution.runs import How, Watcher
from pgsbench.experiment import is_trained
from pgsbench.records.marks import Failure, Marks, Queued
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
        "slurm_additional_parameters": {
            **{option: value for option, value in profile.options.items() if value is not False},
            "signal": f"USR1@{profile.save_seconds}",
            "requeue": True,
        },
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


def is_gone(job: Queued, jobs: set[str], keep: Callable[[Queued], None]) -> bool:
    """Tell whether SLURM has not known a job for `GONE_SECONDS`.

    Args:
        job: The job.
        jobs: All that SLURM knows.
        keep: Writes down when it was missed first, so that other processes know, too.
    """
    if job.job in jobs:
        if job.gone is not None:
            keep(replace(job, gone=None))
        return False
    if job.gone is None:
        keep(replace(job, gone=time.time()))
        return False
    return time.time() - job.gone > GONE_SECONDS


def fail_gone(marks: Marks, run_id: str, jobs: set[str]) -> Failure | None:
    """Mark a run as failed whose job is gone without a word, with the last of its output; see `is_gone`."""
    job = marks.queued(run_id) or Queued("")
    if not is_gone(job, jobs, partial(marks.queue, run_id)):
        return None
    failure = _failure(job)
    marks.fail(run_id, failure)
    marks.unqueue([run_id])
    return failure


def fail_abandoned(marks: Marks, left: Mapping[str, str], jobs: set[str]) -> dict[str, Failure]:
    """Mark runs as failed where all jobs that take what is next are gone, and not all ended well.

    Args:
        marks: Of the study.
        left: Runs that nobody works on, by id, each with the job that did, if that is known.
        jobs: All that SLURM knows.
    """
    workers = marks.workers()
    gone = [is_gone(one, jobs, marks.keep_worker) for one in workers]
    if not workers or not all(gone):
        return {}
    dead = {one.job: one for one in workers if not _ended_well(one)}
    found = {}
    if dead and not marks.is_cancelled:
        found = {run_id: _failure(dead.get(job, [*dead.values()][-1])) for run_id, job in left.items()}
    for run_id, failure in found.items():
        marks.fail(run_id, failure)
    marks.forget_workers(workers)
    return found


def wait_for(
    folder: StudyFolder, specs: Sequence[RunSpec], watcher: Watcher
) -> list[tuple[RunSpec, Exception]]:
    """Wait until runs that were submitted have ended, and return those that failed.

    A run whose job is gone without a word has failed, with the last of the job's output.

    Raises:
        StudyError: The study was cancelled.
    """
    left = {spec.id: spec for spec in specs}
    before = _before(folder, specs)
    failed: list[tuple[RunSpec, Exception]] = []
    while left:
        folder.marks.check_going_on()
        jobs = known_jobs()
        for spec in list(left.values()):
            run, marks = folder.directory(spec), folder.marks
            failure = marks.failure(spec.id)
            if run.holder:
                watcher.on_step(spec, run.last_step(), spec.config.training.steps)
                continue
            if failure is None and folder.is_complete(spec):
                watcher.on_done(spec, before.get(spec.id, "trained"))
                del left[spec.id]
                continue
            if failure is None and (mark := folder.pruned().get(spec.label)):
                watcher.on_pruned(spec, mark.why)
                del left[spec.id]
                continue
            if failure is None and jobs is not None:
                failure = fail_gone(marks, spec.id, jobs)
            if failure is not None:
                failed.append(_told(spec, failure, watcher))
                del left[spec.id]
        watcher.on_tick()
        time.sleep(WAIT_SECONDS if left else 0)
    return failed


def wait_for_jobs(
    folder: StudyFolder, jobs: Sequence[str], watcher: Watcher
) -> list[tuple[RunSpec, Exception]]:
    """Wait until jobs have ended that take what is next, and return the runs of the study that failed.

    Raises:
        StudyError: The study was cancelled, or the jobs ended before they took all points.
    """
    before = _before(folder, [run.spec for run in folder.runs.values()])
    while True:
        folder.marks.check_going_on()
        known = known_jobs()
        folder.refresh()
        for run in folder.runs.values():
            if folder.directory(run.spec).holder:
                steps = run.spec.config.training.steps
                watcher.on_step(run.spec, folder.directory(run.spec).last_step(), steps)
        watcher.on_tick()
        workers = folder.marks.workers()
        jobs = [*dict.fromkeys([*jobs, *(one.job for one in workers)])]  # another command may add some
        if known is not None and not known & set(jobs):
            left = _left(folder, jobs)
            if not left or not workers or fail_abandoned(folder.marks, left, known):
                break
        time.sleep(WAIT_SECONDS)
    failed: list[tuple[RunSpec, Exception]] = []
    for spec in [run.spec for run in folder.runs.values()]:
        if failure := folder.marks.failure(spec.id):
            failed.append(_told(spec, failure, watcher))
        elif folder.is_complete(spec):
            watcher.on_done(spec, before.get(spec.id, "trained"))
    _tell_missing(folder, [one for one in workers if not _ended_well(one)], bool(failed), watcher)
    folder.marks.forget_workers(workers)
    return failed


def _before(folder: StudyFolder, specs: Sequence[RunSpec]) -> dict[str, How]:
    """Return what jobs need not train, by run id, and how it becomes complete."""
    return {
        spec.id: "reused" if folder.is_complete(spec) else "evaluated"
        for spec in specs
        if is_trained(folder.directory(spec))
    }


def _left(folder: StudyFolder, jobs: Sequence[str]) -> dict[str, str]:
    """Return the runs that were entered, have not ended and are held by nobody but jobs that are gone."""
    left, pruned = {}, folder.pruned()
    for spec in [run.spec for run in folder.runs.values()]:
        run = folder.directory(spec)
        holder = leases.holder_of(run.path)
        is_held = run.holder is not None and holder is not None and holder.job not in jobs
        has_ended = spec.label in pruned or folder.marks.failure(spec.id) or folder.is_complete(spec)
        if not is_held and not has_ended:
            left[spec.id] = holder.job if holder else ""
    return left


def _tell_missing(folder: StudyFolder, dead: Sequence[Queued], has_failed: bool, watcher: Watcher) -> None:
    """Say how many points a search lacks; raise where jobs died and no run says so."""
    search = folder.study.config.search
    if search is None or search.trials is None:
        return
    points = dict[str, list[bool]]()
    for spec in [run.spec for run in folder.runs.values()]:
        if spec.params and spec.arm in folder.study.config.searched_arms:
            points.setdefault(spec.label, []).append(folder.is_complete(spec))
    pruned = folder.pruned()
    missing = search.trials - sum(label in pruned or all(done) for label, done in points.items())
    if missing <= 0:
        return
    said = f"{missing} of {search.trials} points are missing"
    if dead and not has_failed:
        raise StudyError(
            f"{said}: {_failure(dead[-1]).error}",
            where=folder.study.config.name,
            way_out="mend the cause and repeat the command: it goes on with what is missing",
        )
    watcher.on_note(said)


def _told(spec: RunSpec, failure: Failure, watcher: Watcher) -> tuple[RunSpec, Exception]:
    error = StudyError(failure.error, where=spec.name, way_out=failure.log)
    watcher.on_failed(spec, error)
    return spec, error


def _failure(job: Queued) -> Failure:
    return Failure(f"its job ended without a word: {_tail(job)}")


def _ended_well(job: Queued) -> bool:
    """Tell whether a job returned, which submitit writes down."""
    for path in Path(job.log).glob(f"{job.job}_*_result.pkl") if job.log else ():
        with suppress(OSError, EOFError, pickle.UnpicklingError), path.open("rb") as file:
            return bool(pickle.load(file)[0] == "success")
    return False


def _tail(job: Queued) -> str:
    found = sorted(Path(job.log).glob(f"{job.job}_*.out")) if job.log else []
    return found[-1].read_text(errors="replace")[-TAIL:].strip() if found else "it left no output"
