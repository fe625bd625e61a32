"""The folder of a study, ``runs/<study>``, and the record in it, to which any number of commands add."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from pgsbench.disk.leases import Lease
from pgsbench.errors import UserError
from pgsbench.evaluation.identity import current_fingerprint
from pgsbench.experiment import is_complete, suite_of
from pgsbench.records import files
from pgsbench.records.marks import Marks, PrunedMark
from pgsbench.records.run_spec import RunSpec
from pgsbench.records.scores import Scores
from pgsbench.records.study_record import (
    DecisionPlan,
    Importances,
    StudyRecord,
    StudyRun,
    read_planned,
    remove_planned,
    write_planned,
)
from pgsbench.study.plan import Planner
from pgsbench.study.study_file import StudyFile
from pgsbench.tracking.pruned import pruned_points
from pgsbench.tracking.rundir import RunDir, all_runs, find_runs

#: Pauses between two looks at a study that another command holds: the first one, and the longest.
ALONE_POLL_SECONDS, ALONE_MAX_SECONDS = 0.02, 0.5
#: By study: names of the runs that were there when this process came, and of those that it has entered.
_met: dict[Path, set[str]] = {}


@dataclass
class StudyFolder:
    """A study on disk.

    Attributes:
        planner: Plans the study's runs.
        runs_root: The folder of all studies.
        command: The command line or call, for the record; None: a process that only joins, and leaves what
            the record says of the study as it is.
        any_numerics: Whether a complete run of other numerics stands for a planned one.
        runs: The runs so far, by `RunSpec.name`.
        importances: See `StudyRecord`.
        decision: See `StudyRecord`.
    """

    planner: Planner
    runs_root: Path
    command: str | None = ""
    any_numerics: bool = False
    runs: dict[str, StudyRun] = field(default_factory=dict)
    importances: Importances | None = None
    decision: DecisionPlan | None = None
    _fingerprints: dict[tuple[str, str], str] = field(default_factory=dict)
    _is_alone: bool = False

    @classmethod
    def open(
        cls, planner: Planner, runs_root: Path, command: str | None = "", *, any_numerics: bool = False
    ) -> StudyFolder:
        """Return the study's folder with those runs of earlier commands that the study still asks for."""
        folder = cls(planner, runs_root, command, any_numerics)
        if folder.path not in _met:
            _met[folder.path] = {run.spec.name for run in read_planned(folder.path)}
        if (folder.path / files.STUDY).is_file():
            before = StudyRecord.read(folder.path)
            if before.config.evaluation == folder.study.config.evaluation:
                folder.importances, folder.decision = before.importances, before.decision
            folder.refresh()
        return folder

    def refresh(self) -> None:
        """Read which runs other commands have entered meanwhile; all are in the order of the plan then."""
        planned = read_planned(self.path)
        for run in planned:
            if run != self.runs.get(run.spec.name) and self._asks_for(run):
                self.runs[run.spec.name] = run
        first = {run.spec.name: self.runs[run.spec.name] for run in planned if run.spec.name in self.runs}
        self.runs = first | self.runs

    def _asks_for(self, run: StudyRun) -> bool:
        # Whatever was edited, the base, the arm, the code of a strategy: the run is then another.
        spec, config = run.spec, self.study.config
        has_arm = spec.arm in config.arm_names or run.is_of_command
        if spec.evaluation != config.evaluation or not has_arm:
            return False
        try:
            return self.planner.again(spec).training == spec.training
        except UserError:  # nothing can be trained at this point of the space any more
            return False

    @property
    def study(self) -> StudyFile:
        """The study."""
        return self.planner.study

    @property
    def path(self) -> Path:
        """``runs/<study>``."""
        return self.runs_root / self.study.config.name

    @property
    def marks(self) -> Marks:
        """What is said of its runs beside their directories."""
        return Marks(self.path)

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Hold the study against all other commands, for as long as it takes to choose a point."""
        if self._is_alone:
            yield
            return
        self.path.mkdir(parents=True, exist_ok=True)
        lease, pause = Lease(self.path), ALONE_POLL_SECONDS
        while not lease.take():
            time.sleep(pause)
            pause = min(2 * pause, ALONE_MAX_SECONDS)  # each look lists the whole folder
        self._is_alone = True
        try:
            yield
        finally:
            self._is_alone = False
            lease.give_back()

    def suite_fingerprint(self, spec: RunSpec) -> str:
        """Return what a run is tested on, looked at once: data must not change under a study."""
        key = spec.evaluation.suite, spec.config.data.source
        if key not in self._fingerprints:
            self._fingerprints[key] = current_fingerprint(suite_of(spec))
        return self._fingerprints[key]

    def directory(self, spec: RunSpec) -> RunDir:
        """Return the directory of a run that was added; it need not exist yet."""
        return RunDir(self.runs_root / self.runs[spec.name].directory)

    def scores(self, spec: RunSpec) -> Scores | None:
        """Return the scores of a run that was added on what this study tests it on."""
        return self.directory(spec).scores_of(self.suite_fingerprint(spec))

    def is_complete(self, spec: RunSpec) -> bool:
        """Tell whether a run that was added needs no work at all."""
        return is_complete(self.directory(spec), self.suite_fingerprint(spec))

    def pruned(self) -> dict[str, PrunedMark]:
        """Return the points that the search's pruner has ended, by label, each with the mark of a run."""
        return pruned_points(self.path, self.study.config.search, self.runs.values())

    def finished(self, spec: RunSpec) -> bool:
        """Tell whether a run that was perhaps not added would be reused."""
        (spec,) = self.existing([spec])
        return is_complete(find_runs(self.runs_root, [spec.id]).get(spec.id), self.suite_fingerprint(spec))

    def existing(self, specs: Sequence[RunSpec]) -> list[RunSpec]:
        """Return the specs, each with the numerics of a complete run that stands for it.

        Only with `any_numerics`; else they are what they were. The same numerics come first.
        """
        if not self.any_numerics:
            return list(specs)
        own = find_runs(self.runs_root, {spec.id for spec in specs})
        others = [run.spec for run in all_runs(self.runs_root) if run.is_done]
        return [
            spec
            if spec.id in own
            else next(
                (_in_place_of(spec, other) for other in others if other.training == spec.training), spec
            )
            for spec in specs
        ]

    def add(self, specs: Sequence[RunSpec]) -> None:
        """Enter planned runs into the record; what exists, or stands here twice, has one directory."""
        known = find_runs(self.runs_root, {spec.id for spec in specs})
        directories = {run.spec.id: run.directory for run in self.runs.values()}
        directories |= {name: run.path.relative_to(self.runs_root).as_posix() for name, run in known.items()}
        added = {}
        for spec in specs:
            place = directories.setdefault(spec.id, spec.folder)
            is_of_command = spec.arm in self.study.of_commands
            added[spec.name] = StudyRun(spec, place, self.suite_fingerprint(spec), is_of_command)
        self.write()
        _met[self.path].update(added)
        write_planned(self.path, added.values())
        self.runs |= added

    def look_for(self, spec: RunSpec) -> None:
        """Find a run that is not where it was planned, as where another study has begun it since."""
        if not self.directory(spec).exists and (run := find_runs(self.runs_root, [spec.id]).get(spec.id)):
            self.found(spec, run.path.relative_to(self.runs_root).as_posix())

    def found(self, spec: RunSpec, directory: str) -> None:
        """Enter where a run that was worked on lies: another command may have made it under another study."""
        changed = {
            name: replace(run, directory=directory)
            for name, run in self.runs.items()
            if run.spec.id == spec.id and run.directory != directory
        }
        if changed:
            self.runs |= changed
            write_planned(self.path, changed.values())

    def write(self) -> None:
        """Write what the study is, and take out the runs that it does not ask for any more.

        What is worked on stays, and what others have entered since this process came: they may have read a
        newer study file.
        """
        if self.command is None:
            return
        StudyRecord(
            config=self.study.config,
            runs=(),
            source=self.study.source,
            command=self.command,
            importances=self.importances,
            decision=self.decision,
            folder=str(self.study.folder.absolute()),
            numerics=self.planner.numerics,
        ).write_head(self.path)
        met = _met[self.path] - self.runs.keys()
        old = [run for run in read_planned(self.path) if run.spec.name in met and not self._asks_for(run)]
        is_held = {run.spec.name: bool(RunDir(self.runs_root / run.directory).holder) for run in old}
        remove_planned(self.path, [name for name, held in is_held.items() if not held])


def _in_place_of(spec: RunSpec, other: RunSpec) -> RunSpec:
    return replace(other, study=spec.study, arm=spec.arm, params=spec.params, evaluation=spec.evaluation)
