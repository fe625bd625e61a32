"""What runs a study consists of, and what each is called: ``runs/<study>/study.json``."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from pgsbench.errors import StudyError
from pgsbench.tracking.rundir import RunDir, read_json, write_json

MANIFEST = "study.json"


def short(value: object) -> str:
    """Return a value of a configuration in as few characters as tell it from all others."""
    text = f"{value:g}" if isinstance(value, float) else str(value)
    return text if not isinstance(value, float) or float(text) == value else repr(value)


@dataclass(frozen=True)
class StudyRun:
    """A run by its place in a study: an arm or a trial, with one seed.

    Attributes:
        arm: Name of the arm.
        seed: Seed of the run.
        run: Path of the run directory relative to the runs folder; it may lie under another study.
        params: What the search space chose, by dotted path; empty for an arm.
    """

    arm: str
    seed: int
    run: str
    params: dict[str, Any] = field(default_factory=dict)

    @property
    def label(self) -> str:
        """Arm and searched values, ``"pgs mask_ratio=0.5"``: equal for all seeds, others for other values."""
        chosen = (f"{path.rpartition('.')[2]}={short(value)}" for path, value in self.params.items())
        return " ".join([self.arm, *chosen])

    @property
    def name(self) -> str:
        """The label with the seed, ``"pgs mask_ratio=0.5 s0"``: unique in its study."""
        return f"{self.label} s{self.seed}"

    @property
    def run_id(self) -> str:
        """The run's id, in which the name of its directory ends."""
        return self.run.rpartition("-")[2]

    def directory(self, runs_root: Path) -> RunDir:
        """Return the run directory, which need not exist yet."""
        return RunDir(runs_root / self.run)


@dataclass(frozen=True)
class StudyManifest:
    """What a study consists of: ``runs/<study>/study.json``.

    Attributes:
        study: The resolved study file.
        runs: Its runs, in the order of the plan.
        source: The study file as it was written, or empty.
        command: The command line that ran it.
        suite_fingerprint: What its runs are tested on (`pgsbench.evaluation.identity`); empty: not known.
    """

    study: dict[str, Any]
    runs: tuple[StudyRun, ...]
    source: str = ""
    command: str = ""
    suite_fingerprint: str = ""


def write_study(folder: Path, manifest: StudyManifest) -> None:
    """Write the manifest of the study in `folder`, atomically."""
    content = asdict(manifest)
    content["cells"] = content.pop("runs")  # as the file has called them from the first
    write_json(folder / MANIFEST, content)


def read_study(folder: Path) -> StudyManifest:
    """Return the manifest of the study in `folder`.

    Raises:
        StudyError: There is none, or it is damaged.
    """
    where = folder / MANIFEST
    content = read_json(where, StudyError)
    try:
        rest = {key: value for key, value in content.items() if key != "cells"}
        return StudyManifest(**rest, runs=tuple(StudyRun(**run) for run in content["cells"]))
    except (KeyError, TypeError) as error:
        rule = "damaged study manifest" if content else "no study has run here (no study.json)"
        raise StudyError(rule, where=str(where), way_out="`pgsbench sweep STUDY` writes one") from error
