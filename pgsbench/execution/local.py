"""A study worked off: what is missing is trained, what exists is reused, a failure does not stop the rest."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from pgsbench.errors import UserError
from pgsbench.evaluation.identity import current_fingerprint
from pgsbench.evaluation.suite import load_suite
from pgsbench.execution.worker import Workers, plan_slots, worker_died
from pgsbench.experiment import is_complete
from pgsbench.study.plan import PlannedRun, planned_run, planned_runs
from pgsbench.study.study import Study
from pgsbench.tracking.manifest import MANIFEST, StudyManifest, StudyRun, read_study, write_study
from pgsbench.tracking.rundir import RunDir, find_runs

POLL_SECONDS = 1.0


@dataclass
class Watcher:
    """What the one who started the work wants to be told; the default is told nothing.

    Attributes:
        on_step: ``(run, steps done, steps in all)``, about once a second for each run under way.
        on_done: A run is complete; True: it was so before.
        on_failed: A run ended with this error.
        on_note: Something else to know, in one line.
        on_tick: About once a second, and after each run.
    """

    on_step: Callable[[PlannedRun, int, int], None] = lambda *_: None
    on_done: Callable[[PlannedRun, bool], None] = lambda *_: None
    on_failed: Callable[[PlannedRun, Exception], None] = lambda *_: None
    on_note: Callable[[str], None] = lambda _: None
    on_tick: Callable[[], None] = lambda: None


@dataclass
class StudyFolder:
    """The folder of a study and the manifest in it, which grows as runs are planned.

    Attributes:
        study: The study.
        runs_root: The folder of all studies.
        command: The command line, for the record.
        runs: The runs so far, by `StudyRun.name`.
        data_ids: See `planned_runs`.
    """

    study: Study
    runs_root: Path
    command: str
    runs: dict[str, StudyRun] = field(default_factory=dict)
    data_ids: dict[str, str] = field(default_factory=dict)

    @classmethod
    def open(cls, study: Study, runs_root: Path, command: str) -> StudyFolder:
        """Return the study's folder with those runs of earlier commands that the study still asks for."""
        folder = cls(study, runs_root, command)
        if (folder.path / MANIFEST).is_file():
            before = read_study(folder.path)
            if before.study.get("evaluation") == study.config.evaluation.model_dump(mode="json"):
                folder.runs = {run.name: run for run in before.runs if folder._asks_for(run)}
        return folder

    def _asks_for(self, run: StudyRun) -> bool:
        # By its id: whatever was edited, the base, the arm, the code of a strategy, the run is then another.
        if run.arm not in self.study.config.arm_names:
            return False
        try:
            return planned_run(self.study, run.arm, run.seed, run.params, self.data_ids).run_id == run.run_id
        except UserError:  # nothing can be trained at this point of the space any more
            return False

    @property
    def path(self) -> Path:
        """``runs/<study>``."""
        return self.runs_root / self.study.config.name

    @cached_property
    def suite_fingerprint(self) -> str:
        """What the study's models are tested on, looked at once: data must not change under a study."""
        return current_fingerprint(load_suite(self.study.config.evaluation.suite))

    def plan(self, arm: str, params: Mapping[str, Any]) -> list[PlannedRun]:
        """Return the runs of an arm at one point of the search space; see `planned_runs`."""
        return planned_runs(self.study, [arm], params=params, data_ids=self.data_ids)

    def directory(self, run: PlannedRun) -> RunDir:
        """Return the directory of a run that was added; it need not exist yet."""
        return self.runs[run.place.name].directory(self.runs_root)

    def is_complete(self, run: PlannedRun) -> bool:
        """Tell whether a run that was added needs no work at all."""
        return is_complete(self.directory(run), self.suite_fingerprint)

    def add(self, runs: Sequence[PlannedRun]) -> None:
        """Enter planned runs into the manifest; what exists, or stands here twice, has one directory."""
        known = find_runs(self.runs_root, {run.run_id for run in runs})
        directory = {place.run_id: place.run for place in self.runs.values()}
        directory |= {name: run.path.relative_to(self.runs_root).as_posix() for name, run in known.items()}
        for run in runs:
            self.runs[run.place.name] = replace(
                run.place, run=directory.setdefault(run.run_id, run.place.run)
            )
        self._write()

    def found(self, run: PlannedRun, path: str) -> None:
        """Enter where a run that was worked on lies: another command may have made it under another study."""
        changed = {
            name: replace(place, run=path)
            for name, place in self.runs.items()
            if place.run_id == run.run_id and place.run != path
        }
        if changed:
            self.runs |= changed
            self._write()

    def _write(self) -> None:
        manifest = StudyManifest(
            self.study.config.model_dump(mode="json"),
            tuple(self.runs.values()),
            self.study.source,
            self.command,
            self.suite_fingerprint if self.runs else "",
        )
        write_study(self.path, manifest)


def work_off(
    folder: StudyFolder,
    runs: Sequence[PlannedRun],
    *,
    watcher: Watcher,
    jobs: int | None = None,
    device: str = "auto",
) -> list[tuple[PlannedRun, Exception]]:
    """Train and evaluate all runs of a plan that are not complete; return those that failed.

    Args:
        folder: The study and where it lives.
        runs: The plan.
        watcher: Told of progress.
        jobs: At most this many processes.
        device: See `plan_slots`.

    Raises:
        KeyboardInterrupt: After the workers have saved their states.
    """
    pending = enter(folder, runs, watcher)
    if not pending:
        return []
    failed = []
    with open_workers(folder, num_runs=len(pending), jobs=jobs, device=device) as workers:
        futures = {workers.submit(run): run for run in pending}
        for run, future in completed(folder, futures, watcher, running=len(workers.slots.devices)):
            error = outcome(future)
            if error is None:
                watcher.on_done(run, False)
            else:
                failed.append((run, error))
                watcher.on_failed(run, error)
    return failed


def enter(folder: StudyFolder, runs: Sequence[PlannedRun], watcher: Watcher) -> list[PlannedRun]:
    """Enter runs into the study's manifest and return those that are not complete, equal ones once."""
    folder.add(runs)
    pending = dict[str, PlannedRun]()
    for run in runs:
        if folder.is_complete(run):
            watcher.on_done(run, True)
        else:
            pending.setdefault(run.run_id, run)
    return list(pending.values())


def open_workers(folder: StudyFolder, *, num_runs: int, jobs: int | None, device: str) -> Workers:
    """Return the worker processes for a number of runs of a study."""
    slots = plan_slots(num_runs, jobs=jobs, device=device)
    config = folder.study.config
    return Workers(slots, runs_root=folder.runs_root, study=config.name, evaluation=config.evaluation)


def completed(
    folder: StudyFolder, futures: dict[Future[str], PlannedRun], watcher: Watcher, *, running: int
) -> Iterator[tuple[PlannedRun, Future[str]]]:
    """Yield each run as it ends and is entered, telling the watcher of progress; `futures` may grow."""
    while futures:
        done, _ = wait(futures, timeout=POLL_SECONDS, return_when=FIRST_COMPLETED)
        for run in list(futures.values())[:running]:
            watcher.on_step(run, folder.directory(run).last_step(), run.config.training.steps)
        watcher.on_tick()
        for future in done:
            run = futures.pop(future)
            if future.exception() is None:
                folder.found(run, future.result())
            yield run, future


def outcome(future: Future[str]) -> Exception | None:
    """Return the error a run ended with, or None; an error that is nobody's mistake keeps its traceback."""
    try:
        future.result()
    except UserError as error:
        return error
    except BrokenProcessPool:
        return worker_died()
    return None
