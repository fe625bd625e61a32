"""The ledger of a study: which runs it has and where they lie, written by the command that drives it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from pgsbench.disk.held import hold, holder_of
from pgsbench.errors import StudyError, UserError
from pgsbench.evaluation.identity import current_fingerprint
from pgsbench.evaluation.suite import suite_of
from pgsbench.experiment import is_complete
from pgsbench.records import files
from pgsbench.records.run_records import PrunedMark
from pgsbench.records.run_spec import RunSpec
from pgsbench.records.scores import Scores
from pgsbench.records.study_record import DecisionPlan, Entry, Importances, StudyRecord, Tuning
from pgsbench.study.design import Design
from pgsbench.study.plan import Planner
from pgsbench.tracking.rundir import RunDir, find_runs
from pgsbench.tracking.states import pruned_points

#: Between two looks at a study that another command drives.
WAIT_SECONDS = 2.0


@dataclass
class Ledger:
    """A study on disk: its folder, ``runs/<study>``, and its record, in which runs are entered.

    Attributes:
        planner: Plans the study's runs.
        runs_root: The folder of all studies.
        command: The command line or call, for the record.
        runs: The runs so far, by `RunSpec.name`.
        importances: See `StudyRecord`.
        decision: See `StudyRecord`.
        tunings: See `StudyRecord`.
    """

    planner: Planner
    runs_root: Path
    command: str = ""
    runs: dict[str, Entry] = field(default_factory=dict)
    importances: Importances | None = None
    decision: DecisionPlan | None = None
    tunings: tuple[Tuning, ...] = ()
    _fingerprints: dict[tuple[str, str | None, str], str] = field(default_factory=dict)

    @classmethod
    def open(cls, planner: Planner, runs_root: Path, command: str = "") -> Ledger:
        """Return the study's ledger with those runs of earlier commands that the study still asks for."""
        ledger = cls(planner, runs_root, command)
        if (ledger.path / files.STUDY).is_file():
            before = StudyRecord.read(ledger.path)
            if before.config.evaluation.at_end == ledger.study.config.evaluation.at_end:
                ledger.importances, ledger.decision = before.importances, before.decision
                ledger.tunings = before.tunings
            ledger.runs = {run.spec.name: run for run in before.runs if ledger._asks_for(run)}
        return ledger

    def _asks_for(self, run: Entry) -> bool:
        # Whatever was edited, the base, the arm, the code of a strategy: the run is then another.
        spec, config = run.spec, self.study.config
        has_arm = spec.arm in config.arm_names or run.is_of_command
        if spec.evaluation.at_end != config.evaluation.at_end or not has_arm:
            return False
        try:
            return self.planner.again(spec).training == spec.training
        except UserError:  # nothing can be trained at this point of the space any more
            return False

    @property
    def study(self) -> Design:
        """The study."""
        return self.planner.study

    @property
    def path(self) -> Path:
        """``runs/<study>``."""
        return self.runs_root / self.study.config.name

    def suite_fingerprint(self, spec: RunSpec) -> str:
        """Return what a run is tested on, looked at once: data must not change under a study."""
        key = spec.evaluation.suite, spec.evaluation.half, spec.config.data.source
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
        return is_complete(find_runs(self.runs_root, [spec.id]).get(spec.id), self.suite_fingerprint(spec))

    def add(self, specs: Sequence[RunSpec]) -> None:
        """Enter planned runs into the record; what exists, or stands here twice, has one directory."""
        known = find_runs(self.runs_root, {spec.id for spec in specs})
        directories = {run.spec.id: run.directory for run in self.runs.values()}
        directories |= {name: run.path.relative_to(self.runs_root).as_posix() for name, run in known.items()}
        for spec in specs:
            place = directories.setdefault(spec.id, spec.folder)
            is_of_command = spec.arm in self.study.of_commands
            self.runs[spec.name] = Entry(spec, place, self.suite_fingerprint(spec), is_of_command)
        self.write()

    def look_for(self, spec: RunSpec) -> RunDir:
        """Return the directory of a run, found anew: another study may have made it since it was planned."""
        found = find_runs(self.runs_root, [spec.id]).get(spec.id)
        if found is None or found.path == self.directory(spec).path:
            return self.directory(spec)
        self.add([run.spec for run in self.runs.values() if run.spec.id == spec.id])
        return found

    def write(self) -> None:
        """Write what the study is."""
        StudyRecord(
            config=self.study.config,
            runs=tuple(self.runs.values()),
            source=self.study.source,
            command=self.command,
            importances=self.importances,
            decision=self.decision,
            tunings=self.tunings,
        ).write(self.path)


@contextmanager
def driving(folder: Path, *, wait: bool, say: Callable[[str], None]) -> Iterator[None]:
    """Be the one that drives a study; the block begins when no other command does.

    Args:
        folder: The study's folder.
        wait: Whether to wait for the other command.
        say: Told in one line who drives.

    Raises:
        StudyError: Another command drives it, and it is not waited for.
    """
    folder.mkdir(parents=True, exist_ok=True)
    has_said = False
    while True:
        with hold(folder) as held:
            if held is not None:
                yield
                return
        holder = holder_of(folder)
        if not wait:
            raise StudyError(
                f"another command drives this study ({holder})",
                where=folder.name,
                way_out="wait for it, or end it: the same command then goes on where it was",
            )
        if holder is not None and not has_said:
            has_said = True
            say(f"{folder.name}: another command drives this study ({holder}); this one waits for it")
        time.sleep(WAIT_SECONDS)
