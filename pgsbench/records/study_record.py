"""What runs a study consists of and where they lie: ``runs/<study>/study.json``."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from pgsbench.config.schema import StudyConfig
from pgsbench.errors import StudyError
from pgsbench.records import files
from pgsbench.records.json_files import read_record, write_record
from pgsbench.records.run_spec import RunSpec


@dataclass(frozen=True)
class StudyRun:
    """A run that a study asks for, and its directory.

    Attributes:
        spec: The run as this study planned it.
        directory: Its directory relative to the runs folder; it may lie under another study.
        suite_fingerprint: What it is tested on (`pgsbench.evaluation.identity`); empty: not known.
    """

    spec: RunSpec
    directory: str
    suite_fingerprint: str = ""


@dataclass(frozen=True)
class Importances:
    """How much of the variance of a sampled search's score each parameter explains, by fANOVA.

    Attributes:
        num_points: Points that it rests on.
        num_seeds: Seeds of a point.
        shares: Parameter -> share, the most important first.
    """

    num_points: int
    num_seeds: int
    shares: dict[str, float]


@dataclass(frozen=True)
class DecisionPlan:
    """How a comparison is repeated until it is decided; fixed before the first look.

    Attributes:
        candidate: The arm in question.
        baselines: What it is compared with.
        margin: Smaller differences, as shares, do not matter.
        max_seeds: Seeds after which no look follows.
        first_seed: The first of the seeds, which are consecutive.
    """

    candidate: str
    baselines: tuple[str, ...]
    margin: float
    max_seeds: int
    first_seed: int = 0


@dataclass(frozen=True)
class StudyRecord:
    """What a study consists of.

    Attributes:
        config: The study file, resolved.
        runs: Its runs, in the order of the plan.
        source: The study file as it was written, or empty.
        command: What ran it last: a command line, or a call from Python.
        importances: What mattered in a search that samples; None where that cannot be told.
        decision: How it is compared until that is decided; None where it is compared once.
    """

    config: StudyConfig
    runs: tuple[StudyRun, ...]
    source: str = ""
    command: str = ""
    importances: Importances | None = None
    decision: DecisionPlan | None = None

    def write(self, folder: Path) -> None:
        """Replace the record of the study in `folder`."""
        write_record(folder / files.STUDY, self)

    @classmethod
    def read(cls, folder: Path) -> StudyRecord:
        """Return the record of the study in `folder`.

        Raises:
            StudyError: There is none, or it is damaged.
        """
        found = read_record(folder / files.STUDY, cls, StudyError)
        if found is None:
            raise StudyError(
                "no study has run here (no study.json)",
                where=str(folder / files.STUDY),
                way_out="`pgsbench train STUDY` writes one",
            )
        return found
