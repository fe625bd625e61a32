"""The folder of a study, ``runs/<study>``, and the record in it, which grows as runs are planned."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from pgsbench.errors import UserError
from pgsbench.evaluation.identity import current_fingerprint
from pgsbench.experiment import is_complete, suite_of
from pgsbench.records import files
from pgsbench.records.run_spec import RunSpec
from pgsbench.records.study_record import DecisionPlan, Importances, StudyRecord, StudyRun
from pgsbench.study.plan import Planner
from pgsbench.study.study_file import StudyFile
from pgsbench.tracking.rundir import RunDir, all_runs, find_runs


@dataclass
class StudyFolder:
    """A study on disk.

    Attributes:
        planner: Plans the study's runs.
        runs_root: The folder of all studies.
        command: The command line or call, for the record.
        any_numerics: Whether a complete run of other numerics stands for a planned one.
        runs: The runs so far, by `RunSpec.name`.
        importances: See `StudyRecord`.
        decision: See `StudyRecord`.
    """

    planner: Planner
    runs_root: Path
    command: str = ""
    any_numerics: bool = False
    runs: dict[str, StudyRun] = field(default_factory=dict)
    importances: Importances | None = None
    decision: DecisionPlan | None = None
    _fingerprints: dict[tuple[str, str], str] = field(default_factory=dict)

    @classmethod
    def open(
        cls, planner: Planner, runs_root: Path, command: str = "", *, any_numerics: bool = False
    ) -> StudyFolder:
        """Return the study's folder with those runs of earlier commands that the study still asks for."""
        folder = cls(planner, runs_root, command, any_numerics)
        if (folder.path / files.STUDY).is_file():
            before = StudyRecord.read(folder.path)
            if before.config.evaluation == folder.study.config.evaluation:
                folder.runs = {run.spec.name: run for run in before.runs if folder._asks_for(run.spec)}
                folder.importances, folder.decision = before.importances, before.decision
        return folder

    def _asks_for(self, spec: RunSpec) -> bool:
        # Whatever was edited, the base, the arm, the code of a strategy: the run is then another.
        if spec.arm not in self.study.config.arm_names:
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

    def suite_fingerprint(self, spec: RunSpec) -> str:
        """Return what a run is tested on, looked at once: data must not change under a study."""
        key = spec.evaluation.suite, spec.config.data.source
        if key not in self._fingerprints:
            self._fingerprints[key] = current_fingerprint(suite_of(spec))
        return self._fingerprints[key]

    def directory(self, spec: RunSpec) -> RunDir:
        """Return the directory of a run that was added; it need not exist yet."""
        return RunDir(self.runs_root / self.runs[spec.name].directory)

    def is_complete(self, spec: RunSpec) -> bool:
        """Tell whether a run that was added needs no work at all."""
        return is_complete(self.directory(spec), self.suite_fingerprint(spec))

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
        for spec in specs:
            self.runs[spec.name] = StudyRun(
                spec, directories.setdefault(spec.id, spec.folder), self.suite_fingerprint(spec)
            )
        self.write()

    def found(self, spec: RunSpec, directory: str) -> None:
        """Enter where a run that was worked on lies: another command may have made it under another study."""
        changed = {
            name: replace(run, directory=directory)
            for name, run in self.runs.items()
            if run.spec.id == spec.id and run.directory != directory
        }
        if changed:
            self.runs |= changed
            self.write()

    def write(self) -> None:
        """Write the record."""
        StudyRecord(
            config=self.study.config,
            runs=tuple(self.runs.values()),
            source=self.study.source,
            command=self.command,
            importances=self.importances,
            decision=self.decision,
        ).write(self.path)


def _in_place_of(spec: RunSpec, other: RunSpec) -> RunSpec:
    return replace(other, study=spec.study, arm=spec.arm, params=spec.params, evaluation=spec.evaluation)
