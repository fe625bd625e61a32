"""Many processes on one study: see how it stands, hand it to a cluster, cancel it, try again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from pgsbench.config.cluster import Profile, read_profile
from pgsbench.errors import ConfigError
from pgsbench.execution import slurm
from pgsbench.execution.runs import enter
from pgsbench.execution.slots import Slots, plan_slots
from pgsbench.execution.status import LOST, QUEUED, RunStatus, statuses
from pgsbench.jobs import RunJob, WorkerJob
from pgsbench.records.marks import Marks, Queued
from pgsbench.records.run_spec import RunSpec
from pgsbench.records.study_record import read_planned
from pgsbench.reporting.run_list import study_folder
from pgsbench.session import Study
from pgsbench.study.study_file import StudyFile

LOCAL, SLURM = "local", "slurm"


def status(study: str, *, output: str | Path = ".") -> list[RunStatus]:
    """Return how each run of a study stands.

    Raises:
        StudyError: There is no such study.
    """
    found = statuses(study_folder(output, study))
    jobs = slurm.known_jobs() if any(run.state == QUEUED for run in found) else None
    if jobs is None:
        return found
    return [replace(run, state=LOST) if run.state == QUEUED and run.job not in jobs else run for run in found]


def cancel(study: str, *, output: str | Path = ".") -> list[str]:
    """Ask every process and job of a study to save and end; return the jobs that were cancelled."""
    folder = study_folder(output, study)
    Marks(folder).cancel()
    found = [run for run in statuses(folder) if run.job]
    jobs = list(dict.fromkeys(run.job for run in found))
    if jobs:
        slurm.cancel(jobs)
        Marks(folder).unqueue(run.id for run in found)
    return jobs


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
        """Take another study to work in the same place."""
        other = ClusterStudy(
            file, self.runs_root.parent, self.slots, command=self._command, any_numerics=False
        )
        other.profile, other.cluster = self.profile, self.cluster
        return other

    def _work_off(self, specs: Sequence[RunSpec]) -> None:
        missing = self.watched(lambda folder, watcher: enter(folder, specs, watcher))
        self.submit(missing)
        self.failed = self.watched(lambda folder, watcher: slurm.wait_for(folder, missing, watcher))

    def submit(self, missing: list[RunSpec], num_open: int = 0) -> list[str]:
        """Submit jobs for runs, or jobs that take the next point of a search; return their ids.

        Args:
            missing: The runs.
            num_open: Points that a sampler has still to choose.
        """
        output, folder, profile = str(self.runs_root.parent), self.runs_root / self.name, self.profile
        if num_open:
            workers = [WorkerJob(output, self.name) for _ in range(min(profile.parallel, num_open))]
            return slurm.submit(workers, profile, folder, name=self.name, cluster=self.cluster)
        if not missing:
            return []
        runs = [RunJob(output, self.name, spec.name, profile.device, profile.cpus) for spec in missing]
        ids = slurm.submit(runs, profile, folder, name=self.name, cluster=self.cluster)
        for spec, job in zip(missing, ids, strict=True):
            Marks(folder).queue(spec.id, Queued(job, str(folder / slurm.JOBS / job)))
        return ids


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
        ConfigError: There is no such engine, or the cluster's file has mistakes.
    """
    kind, _, name = on.partition(":")
    if kind != SLURM:
        raise ConfigError("no such engine", where="--on", value=on, way_out="local, slurm or slurm:PROFILE")
    profile = read_profile(name)
    slots = Slots((profile.device,), profile.cpus)
    study = ClusterStudy(file, Path(output), slots, command=command, any_numerics=False)
    study.profile, study.cluster = profile, cluster
    return study


@dataclass(frozen=True)
class HandedOver:
    """What was left to other processes.

    Attributes:
        missing: Runs that are not complete; of a search that samples, those that are known beforehand.
        jobs: Ids of the jobs that were submitted.
    """

    missing: list[RunSpec]
    jobs: list[str]


def hand_over(
    file: StudyFile,
    *,
    output: str | Path = ".",
    on: str = SLURM,
    arms: Sequence[str | None] | None = None,
    search: bool = False,
    detach: bool = False,
    device: str = "auto",
    threads: int | None = None,
    command: str = "",
    cluster: str = "slurm",
) -> tuple[Study, HandedOver]:
    """Plan a study and leave its runs to a cluster, or to workers that join it.

    Args:
        file: The study file.
        output: The folder of ``runs/``, which the jobs must see, too.
        on: ``local``, ``slurm`` or ``slurm:PROFILE``.
        arms: As for `Study.train`; None among them is the base.
        search: Search its space.
        detach: Return when all is submitted, else wait for the jobs.
        device: As for `open_study`; a cluster's profile says it itself.
        threads: Likewise.
        command: What the record says has run the study.
        cluster: See `pgsbench.execution.slurm.submit`.

    Raises:
        UserError: The study or the cluster's file has mistakes, or no jobs are taken.
    """
    if on == LOCAL:
        slots = plan_slots(device=device, threads=threads)
        study = Study(file, Path(output), slots, command=command, any_numerics=False)
        missing, _ = _planned(study, arms, search=search)
        return study, HandedOver(missing, [])
    study = on_cluster(file, on=on, output=output, command=command, cluster=cluster)
    missing, num_open = _planned(study, arms, search=search)
    jobs = study.submit(missing, num_open)
    if not detach and num_open:
        study.failed = study.watched(lambda folder, watcher: slurm.wait_for_jobs(folder, jobs, watcher))
    elif not detach:
        study.failed = study.watched(lambda folder, watcher: slurm.wait_for(folder, missing, watcher))
    return study, HandedOver(missing, jobs)


def _planned(study: Study, arms: Sequence[str | None] | None, *, search: bool) -> tuple[list[RunSpec], int]:
    """Enter what is known of a study beforehand; return what is missing, and how many points are open."""
    if not search:
        names = None if arms is None else [arm or study.arms[0] for arm in arms]
        specs = study.plan(names)
        return study.watched(lambda folder, watcher: enter(folder, specs, watcher)), 0
    references, searched, num_open = study.plan_sweep()
    specs = [*references, *(() if num_open else searched)]
    return study.watched(lambda folder, watcher: enter(folder, specs, watcher)), num_open
