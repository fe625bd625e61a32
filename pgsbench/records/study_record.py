"""What runs a study consists of and where they lie."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pgsbench.config.schema import StudyConfig
from pgsbench.errors import ConfigError, StudyError
from pgsbench.records import files
from pgsbench.records.json_files import read_record, write_record
from pgsbench.records.run_spec import RunSpec


@dataclass(frozen=True)
class Entry:
    """A run that a study asks for, and its directory.

    Attributes:
        spec: The run as this study planned it.
        directory: Its directory relative to the runs folder; it may lie under another study.
        suite_fingerprint: What it is tested on (`pgsbench.evaluation.identity`); empty: not known.
        is_of_command: Whether its arm is not in the study file: a command has named the strategy.
    """

    spec: RunSpec
    directory: str
    suite_fingerprint: str = ""
    is_of_command: bool = False


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
class Margin:
    """The margin of a comparison: smaller differences do not matter.

    Attributes:
        share: Of the score's range, so 0.01 is one point; or of the baseline's mean.
        is_relative: Whether it is of the baseline's mean.
    """

    share: float
    is_relative: bool = False

    @classmethod
    def of(cls, said: float | str) -> Margin:
        """Return the margin that is meant by points, ``1.5`` or ``"1.5"``, or by ``"10%"`` of the baseline.

        Raises:
            ConfigError: It is neither, or not above 0 and below 100.
        """
        text = str(said).strip()
        try:
            number = float(text.removesuffix("%"))
        except ValueError:
            number = float("nan")
        if not 0 < number < 100:
            raise ConfigError(
                "a margin is a number of points above 0 and below 100, or of percent of the baseline's mean",
                where="margin",
                value=said,
                way_out="1, or 10%, for example",
            )
        return cls(number / 100, text.endswith("%"))

    def beside(self, baseline: float) -> float:
        """Return it as a difference of scores.

        Args:
            baseline: Mean score of the baseline, a share; it is taken as it was measured.
        """
        return self.share * baseline if self.is_relative else self.share


@dataclass(frozen=True)
class DecisionPlan:
    """How a comparison is repeated until it is decided; fixed before the first look.

    Attributes:
        candidate: The arm in question.
        baselines: What it is compared with.
        margin: Smaller differences do not matter.
        max_seeds: Seeds after which no look follows.
        first_seed: The first of the seeds, which are consecutive.
        seen: How many of the seeds had results before there was this plan.
        borrowed_df: Degrees of freedom for how much seeds matter that were borrowed when it was made.
    """

    candidate: str
    baselines: tuple[str, ...]
    margin: Margin
    max_seeds: int
    first_seed: int = 0
    seen: int = 0
    borrowed_df: float = 0.0

    @property
    def asks(self) -> tuple[object, ...]:
        """What a command asks for: a plan that asks for the same is the same plan."""
        return self.candidate, self.baselines, self.margin, self.max_seeds, self.first_seed


@dataclass(frozen=True)
class Tried:
    """A point that an arm was tried at before arms were compared.

    Attributes:
        params: Dotted path -> value.
        score: What it gave in the mean over its seeds; None: its runs failed.
    """

    params: dict[str, Any]
    score: float | None


@dataclass(frozen=True)
class Tuning:
    """What one arm was tuned to.

    Attributes:
        arm: The arm.
        params: The values with the highest score, by dotted path.
        tried: All that was tried, in the order of the search.
        at_border: The paths whose value is the lowest or the highest number that was tried.
    """

    arm: str
    params: dict[str, Any]
    tried: tuple[Tried, ...]
    at_border: tuple[str, ...] = ()


@dataclass(frozen=True)
class StudyRecord:
    """What a study consists of: ``runs/<study>/study.json``, written by the one command that drives it.

    Attributes:
        config: The study file, resolved.
        runs: Its runs, in the order of the plan.
        source: The study file as it was written, or empty.
        command: What ran it last: a command line, or a call from Python.
        importances: What mattered in a search that samples; None where that cannot be told.
        decision: How it is compared until that is decided; None where it is compared once.
        tunings: What each arm was tuned to before, where the study says so.
    """

    config: StudyConfig
    runs: tuple[Entry, ...]
    source: str = ""
    command: str = ""
    importances: Importances | None = None
    decision: DecisionPlan | None = None
    tunings: tuple[Tuning, ...] = ()

    def write(self, folder: Path) -> None:
        """Replace the record of the study in `folder`."""
        write_record(folder / files.STUDY, self)

    @classmethod
    def read(cls, folder: Path) -> StudyRecord:
        """Return the record of the study in `folder`.

        Raises:
            StudyError: There is none, or it is damaged.
        """
        path = folder / files.STUDY
        try:
            found = path.stat()
        except OSError:
            raise StudyError(
                "no study has run here (no study.json)",
                where=str(path),
                way_out="`pgsbench train STUDY` writes one",
            ) from None
        state = found.st_mtime_ns, found.st_ino, found.st_size
        if path not in _known or _known[path][0] != state:
            record = read_record(path, cls, StudyError)
            if record is None:
                raise StudyError("the study was deleted meanwhile", where=str(path))
            _known[path] = state, record
        return _known[path][1]


#: Records that were read, by path, each with what would change if it were written again.
_known: dict[Path, tuple[object, StudyRecord]] = {}


def copy_times(source: Path, folder: Path) -> None:
    """Copy what one study's steps took to another study that shall plan the same runs.

    Args:
        source: The folder of the study that was timed.
        folder: That of the other, whose own times stay.
    """
    for one in (source / files.TIMES).glob("[!.]*.json"):
        place = folder / files.TIMES / one.name
        if not place.exists():
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(one, place)
