"""Many processes on one study: see how it stands, leave it to others, cancel it, try again."""

from __future__ import annotations

import shlex
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from pgsbench.config.cluster_profiles import Profile, read_profile
from pgsbench.config.schema import StudyConfig
from pgsbench.errors import ConfigError, StudyError
from pgsbench.execution import slurm
from pgsbench.execution.folder import StudyFolder
from pgsbench.execution.runs import Watcher, enter
from pgsbench.execution.slots import Slots, plan_slots
from pgsbench.execution.status import (
    ENDED,
    FAILED,
    LOST,
    QUEUED,
    RUNNING,
    WAITING,
    RunStatus,
    may_draw,
    statuses,
)
from pgsbench.records.marks import Failure, Marks, Queued
from pgsbench.records.run_spec import RunSpec
from pgsbench.records.study_record import StudyRecord, read_planned
from pgsbench.reporting.render import counted
from pgsbench.reporting.runs.on_disk import study_folder
from pgsbench.reporting.study_results import StudyResults
from pgsbench.session.jobs import RunJob, WorkerJob
from pgsbench.session.study import Study
from pgsbench.study.study_file import StudyFile

LOCAL, SLURM = "local", "slurm"
#: What a job waits for that takes what is next.
NEXT = "whatever is next"
#: Between two looks of `watch`.
WATCH_SECONDS = 5.0


def status(study: str, *, output: str | Path = ".") -> list[RunStatus]:
    """Return how each run of a study stands, and behind them each job that waits to take what is next.

    Runs whose jobs are gone for good are marked as failed.

    Raises:
        StudyError: There is no such study.
    """
    found = statuses(study_folder(output, study))
    marks = Marks(study_folder(output, study))
    workers = marks.workers()
    jobs = slurm.known_jobs() if workers or any(run.state in (QUEUED, LOST) for run in found) else None
    if jobs is None:
        return [*found, *(_waiting(one) for one in workers)]
    held = {run.job for run in found if run.state == RUNNING}
    left = {run.id: run.job for run in found if run.state in (WAITING, LOST)}
    abandoned = {} if held else slurm.fail_abandoned(marks, left, jobs)
    return [
        *(_looked_at(run, marks, jobs, abandoned.get(run.id)) for run in found),
        *(_waiting(one) for one in workers if one.job in jobs - held),
    ]


def _looked_at(run: RunStatus, marks: Marks, jobs: set[str], failure: Failure | None) -> RunStatus:
    """Return how a run stands by the queue, too; one whose job is gone for good is marked as failed."""
    queued = marks.queued(run.id)
    is_job_of_it = queued is not None and run.job == queued.job
    if failure is None and run.state in (QUEUED, LOST) and is_job_of_it:
        failure = slurm.fail_gone(marks, run.id, jobs)
        run = run if run.job in jobs else replace(run, state=LOST)
    return replace(run, state=FAILED, why=failure.error, log=failure.log) if failure else run


def _waiting(worker: Queued) -> RunStatus:
    return RunStatus(NEXT, "", QUEUED, job=worker.job, log=worker.log)


def watch(
    study: str, *, output: str | Path = ".", seconds: float = WATCH_SECONDS
) -> Iterator[list[RunStatus]]:
    """Yield how each run stands, again and again until all have ended and no more are drawn; see `status`."""
    while True:
        found = status(study, output=output)
        yield found
        if all(run.state in ENDED for run in found) and not may_draw(study_folder(output, study)):
            return
        time.sleep(seconds)


@dataclass(frozen=True)
class Cancelled:
    """What was cancelled of a study.

    Attributes:
        jobs: Of a cluster.
        num_ended: Runs that had ended already.
        num_runs: Its planned runs.
        is_over: Whether nothing was left to cancel, so that nothing was done.
    """

    jobs: list[str]
    num_ended: int
    num_runs: int
    is_over: bool = False

    @property
    def words(self) -> str:
        """The same as a sentence."""
        if self.is_over:
            return f"nothing to cancel: its {counted(self.num_runs, 'run')} ended before"
        jobs = f"; jobs: {', '.join(self.jobs)}" if self.jobs else ""
        return f"cancelled, with {self.num_ended} of {counted(self.num_runs, 'run')} ended before{jobs}"


def cancel(study: str, *, output: str | Path = ".") -> Cancelled:
    """Ask every process and job of a study to save and end; one whose runs have ended is left alone.

    A search may be about to choose its next point, and a comparison its next seed, so they are always asked.
    """
    folder = study_folder(output, study)
    runs = statuses(folder)
    num_ended = sum(run.state in ENDED for run in runs)
    record = StudyRecord.read(folder)
    if runs and num_ended == len(runs) and record.config.search is None and record.decision is None:
        return Cancelled([], num_ended, len(runs), is_over=True)
    marks = Marks(folder)
    marks.cancel()
    workers = marks.workers()
    jobs = list(dict.fromkeys([*(run.job for run in runs if run.job), *(one.job for one in workers)]))
    known = slurm.known_jobs() if jobs else None
    if known is not None:  # what has ended cannot be cancelled
        jobs = [job for job in jobs if job in known]
    if jobs:
        slurm.cancel(jobs)
    marks.unqueue(run.id for run in runs)
    marks.forget_workers(workers)
    return Cancelled(jobs, num_ended, len(runs))


def retry(study: str, *, output: str | Path = ".") -> list[str]:
    """Let runs that failed be worked on again, and a cancelled study go on; return the names of the runs."""
    folder = study_folder(output, study)
    marks = Marks(folder)
    failed = [run.spec for run in read_planned(folder) if marks.failure(run.spec.id)]
    marks.try_again(spec.id for spec in failed)
    marks.unqueue(spec.id for spec in failed)
    marks.go_on()
    return [spec.name for spec in failed]


class ClusterStudy(Study):
    """A study whose runs are jobs of a cluster, for which its calls wait; made by `on_cluster`."""

    profile: Profile
    cluster: str

    def beside(self, file: StudyFile) -> ClusterStudy:
        """Take another study to work in the same place; its runs are counted with those of this one."""
        other = ClusterStudy(
            file, self.runs_root.parent, self.slots, command=self._command, any_numerics=False
        )
        other.profile, other.cluster, other._counts = self.profile, self.cluster, self._counts
        return other

    def _work_off(self, specs: Sequence[RunSpec]) -> None:
        Marks(self.runs_root / self.name).go_on()
        missing = self.watched(lambda folder, watcher: enter(folder, specs, watcher))
        self.submit(missing)
        self.failed = self.watched(lambda folder, watcher: slurm.wait_for(folder, missing, watcher))

    def sweep(self, trials: int | None = None) -> StudyResults:
        """Search the study's space with jobs that take the next point; see `Study.sweep`."""
        left = leave(self, search=True, trials=trials)

        def wait(folder: StudyFolder, watcher: Watcher) -> list[tuple[RunSpec, Exception]]:
            if left.num_open:
                return slurm.wait_for_jobs(folder, [one.job for one in folder.marks.workers()], watcher)
            return slurm.wait_for(folder, left.missing, watcher)

        self.failed = self.watched(wait)
        return self._finish()

    def submit(self, missing: list[RunSpec], num_open: int = 0) -> list[str]:
        """Submit jobs for runs, or jobs that take the next point of a search; return their ids.

        Args:
            missing: The runs; one whose job of an earlier command has not ended gets no other one.
            num_open: Points that a sampler has still to choose; jobs that do so already count.

        Raises:
            StudyError: SLURM cannot be asked which jobs of earlier commands have ended, or takes none.
        """
        if num_open:
            return self._submit_workers(num_open)
        output, folder, profile = str(self.runs_root.parent), self.runs_root / self.name, self.profile
        marks = Marks(folder)
        queued = {spec.id: one.job for spec in missing if (one := marks.queued(spec.id))}
        jobs = self._known_jobs() if queued else set()
        missing = [spec for spec in missing if queued.get(spec.id) not in jobs]
        if not missing:
            return []
        runs = [
            RunJob(
                output,
                self.name,
                spec.name,
                profile.device,
                profile.threads,
                profile.num_devices,
                profile.again,
            )
            for spec in missing
        ]
        ids = slurm.submit(runs, profile, folder, name=self.name, cluster=self.cluster)
        for spec, job in zip(missing, ids, strict=True):
            marks.queue(spec.id, slurm.queued(job, folder))
        return ids

    def _submit_workers(self, num_open: int) -> list[str]:
        folder, profile = self.runs_root / self.name, self.profile
        marks = Marks(folder)
        marks.try_again(run.spec.id for run in read_planned(folder))
        before = marks.workers()
        jobs = self._known_jobs() if before else set()
        ended = [one for one in before if one.job not in jobs]
        marks.forget_workers(ended)
        num_new = min(profile.parallel, num_open) - (len(before) - len(ended))
        if num_new <= 0:
            return []
        worker = WorkerJob(str(self.runs_root.parent), self.name, profile.num_devices)
        ids = slurm.submit([worker] * num_new, profile, folder, name=self.name, cluster=self.cluster)
        for job in ids:
            marks.keep_worker(slurm.queued(job, folder))
        return ids

    def _known_jobs(self) -> set[str]:
        jobs = slurm.known_jobs()
        if jobs is None:
            raise StudyError(
                "squeue does not answer, so nobody knows which jobs of earlier commands have ended",
                where=self.name,
                way_out="repeat the command when it does; nothing was submitted",
            )
        return jobs


def on_cluster(
    file: StudyFile, *, on: str, output: str | Path = ".", command: str = "", cluster: str = "slurm"
) -> ClusterStudy:
    """Take a study file to work on a cluster.

    Args:
        file: The study file.
        on: ``slurm`` or ``slurm:PROFILE``.
        output: The folder of ``runs/``, which the jobs must see, too.
        command: What the record says has run the study.
        cluster: See `pgsbench.execution.slurm.submit`.

    Raises:
        ConfigError: There is no such engine, the cluster's file has mistakes, or its jobs have other devices
            than the study wants.
    """
    kind, _, name = on.partition(":")
    if kind != SLURM:
        raise ConfigError("no such engine", where="--on", value=on, way_out="local, slurm or slurm:PROFILE")
    profile = read_profile(name)
    _check_size(file.config, profile)
    slots = Slots((profile.device,), profile.threads, are_here=False)
    study = ClusterStudy(file, Path(output), slots, command=command, any_numerics=False)
    study.profile, study.cluster = profile, cluster
    return study


def _check_size(config: StudyConfig, profile: Profile) -> None:
    num_devices, asked = profile.num_devices, config.devices_per_run
    if asked not in (1, num_devices):
        raise ConfigError(
            f"with --on {SLURM} the profile says how many devices train a run, and that is {num_devices}",
            where="devices_per_run",
            value=asked,
            way_out=f"set `gpus`, or `processes` of CPUs, of the profile to {asked}",
        )
    alone = config.search is not None and config.search.probe is not None
    if num_devices > 1 and (alone or (config.budget and config.budget.equal == "seconds")):
        what = "probes its runs" if alone else "times its runs"
        raise ConfigError(
            f"the study {what} on one device, and the profile trains each on {num_devices}",
            where="search.probe" if alone else "budget",
            way_out="name a profile of one device",
        )
    if profile.again is not None:
        after = read_profile(profile.again)
        ours, theirs = ((one.device, "" if one.gpus else one.threads) for one in (profile, after))
        if ours != theirs:
            raise ConfigError(
                "a run goes on with the arithmetic that it began with: one type of device, as many threads",
                where="again",
                value=profile.again,
                way_out="give both profiles `gpus`, or CPUs with equal `cpus` / `processes`",
            )


@dataclass(frozen=True)
class Left:
    """What was left to other processes.

    Attributes:
        missing: Runs that are not complete; of a search that samples, those that are known beforehand.
        jobs: Ids of the jobs that were submitted.
        num_open: Points that a sampler has still to choose.
    """

    missing: list[RunSpec]
    jobs: list[str]
    num_open: int = 0

    def words(self, study: Study) -> str:
        """Return what was left of a study, and the commands that show it and join it, in lines."""
        output = study.runs_root.parent
        where = "" if output == Path.cwd() else f" --output {shlex.quote(str(output))}"
        jobs = f", {counted(len(self.jobs), 'job')} submitted" if self.jobs else ""
        missing = counted(len(self.missing), "run")
        commands = [f"pgsbench {verb} {study.name}{where}" for verb in ("study status", "worker")]
        return "\n".join([f"{study.name}: {missing} missing{jobs}", *commands])


def for_others(
    file: StudyFile,
    *,
    on: str = LOCAL,
    output: str | Path = ".",
    device: str = "auto",
    threads: int | None = None,
    any_numerics: bool = False,
    command: str = "",
) -> Study:
    """Take a study file that others work on: workers that join it, or jobs of a cluster.

    Args:
        file: The study file.
        on: ``local``, ``slurm`` or ``slurm:PROFILE``; a cluster's profile says devices and threads itself.
        output: The folder of ``runs/``, which the others must see, too.
        device: As for `open_study`; here there need not be as many as train a run together.
        threads: As for `open_study`.
        any_numerics: Likewise.
        command: What the record says has run the study.

    Raises:
        UserError: There is no such engine or device, or the cluster's file has mistakes.
    """
    if on != LOCAL:
        return on_cluster(file, on=on, output=output, command=command)
    slots = plan_slots(device=device, threads=threads)
    return Study(file, Path(output), slots, command=command, any_numerics=any_numerics)


def leave(
    study: Study, arms: Sequence[str] | None = None, *, search: bool = False, trials: int | None = None
) -> Left:
    """Plan a study and leave its runs to its cluster, or to workers that join it; wait for nothing.

    Args:
        study: The study, from `for_others`.
        arms: As for `Study.train`.
        search: Search its space instead.
        trials: As for `Study.sweep`.

    Raises:
        UserError: The study has mistakes, or no jobs are taken.
    """
    num_open = 0
    if search:
        references, searched, num_open = study.plan_sweep(trials)
        specs = [*references, *(() if num_open else searched)]
    else:
        specs = study.plan(arms)
    Marks(study.runs_root / study.name).go_on()
    missing = study.watched(lambda folder, watcher: enter(folder, specs, watcher))
    jobs = study.submit(missing, num_open) if isinstance(study, ClusterStudy) else []
    return Left(missing, jobs, num_open)
