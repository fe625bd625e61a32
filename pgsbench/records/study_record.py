"""What runs a study consists of and where they lie.

``runs/<study>/study.json`` says what the study is; each planned run is a file of its own under ``planned/``,
so that several commands, on several machines, add to a study without losing what another one added.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from dataclasses import dataclass, fields
from pathlib import Path

from pgsbench.config.schema import StudyConfig
from pgsbench.errors import StudyError
from pgsbench.hashing import digest
from pgsbench.records import files
from pgsbench.records.json_files import read_record, write_record
from pgsbench.records.margin import Margin
from pgsbench.records.run_spec import Numerics, RunSpec


@dataclass(frozen=True)
class StudyRun:
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
class StudyRecord:
    """What a study consists of.

    Attributes:
        config: The study file, resolved.
        runs: Its runs, in the order of the plan.
        source: The study file as it was written, or empty.
        command: What ran it last: a command line, or a call from Python.
        importances: What mattered in a search that samples; None where that cannot be told.
        decision: How it is compared until that is decided; None where it is compared once.
        folder: Where the study file lies; its relative paths start here.
        numerics: On what arithmetic the command that wrote this trains; None: it did not say.
    """

    config: StudyConfig
    runs: tuple[StudyRun, ...]
    source: str = ""
    command: str = ""
    importances: Importances | None = None
    decision: DecisionPlan | None = None
    folder: str = "."
    numerics: Numerics | None = None

    def write_head(self, folder: Path) -> None:
        """Replace the record of the study in `folder`, but for its runs (`write_planned`)."""
        said = {field.name: getattr(self, field.name) for field in fields(_Head)}
        write_record(folder / files.STUDY, _Head(**said))

    @classmethod
    def read(cls, folder: Path) -> StudyRecord:
        """Return the record of the study in `folder`.

        Raises:
            StudyError: There is none, or it is damaged.
        """
        head = read_record(folder / files.STUDY, _Head, StudyError)
        if head is None:
            raise StudyError(
                "no study has run here (no study.json)",
                where=str(folder / files.STUDY),
                way_out="`pgsbench train STUDY` writes one",
            )
        said = {field.name: getattr(head, field.name) for field in fields(_Head)}
        return cls(runs=read_planned(folder), **said)


@dataclass(frozen=True)
class _Head:
    """``study.json``; see `StudyRecord`."""

    config: StudyConfig
    source: str = ""
    command: str = ""
    importances: Importances | None = None
    decision: DecisionPlan | None = None
    folder: str = "."
    numerics: Numerics | None = None


@dataclass(frozen=True)
class _Planned:
    """A file under ``planned/``: a run, and its place in the order of the plan."""

    number: int
    run: StudyRun


#: Files that were read, by path, each with what would change if it were written again.
_known: dict[Path, tuple[object, _Planned]] = {}


def read_planned(folder: Path) -> tuple[StudyRun, ...]:
    """Return the planned runs of the study in `folder`, in the order of the plan.

    Raises:
        StudyError: A file is damaged.
    """
    return tuple(one.run for one in sorted(_all(folder), key=lambda one: (one.number, one.run.spec.name)))


def write_planned(folder: Path, runs: Iterable[StudyRun]) -> None:
    """Enter runs into the study in `folder`, behind those that are there; known ones keep their place."""
    number = max((one.number for one in _all(folder)), default=-1)
    for run in runs:
        path = _path(folder, run.spec.name)
        before = _read(path)
        number += before is None
        if before is None or before.run != run:
            write_record(path, _Planned(before.number if before else number, run))


def remove_planned(folder: Path, names: Iterable[str]) -> None:
    """Take runs out of the study in `folder`, by `RunSpec.name`."""
    for name in names:
        _path(folder, name).unlink(missing_ok=True)


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


def _all(folder: Path) -> list[_Planned]:
    found = [_read(path) for path in (folder / files.PLANNED).glob("[!.]*.json")]
    return [one for one in found if one is not None]  # None: it was taken out this moment


def _path(folder: Path, name: str) -> Path:
    return folder / files.PLANNED / f"{digest(name)[:16]}.json"


def _read(path: Path) -> _Planned | None:
    try:
        found = path.stat()
    except FileNotFoundError:
        return None
    state = found.st_mtime_ns, found.st_ino, found.st_size
    if path not in _known or _known[path][0] != state:
        planned = read_record(path, _Planned, StudyError)
        if planned is None:
            return None
        _known[path] = state, planned
    return _known[path][1]
