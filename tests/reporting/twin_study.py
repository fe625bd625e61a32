"""A made-up study on disk, the report of it, and its twin: a grid, four arms, a task that one run lacks."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from fabricated import Arm, replace_scores, write_runs
from twin import Twin

from pgsbench.records.scores import GroupMean, Scores
from pgsbench.reporting.answer import first_table
from pgsbench.reporting.columns import arms_table
from pgsbench.reporting.pages.details import detail_tables
from pgsbench.reporting.pages.study_report import write_report
from pgsbench.reporting.pareto import front_table
from pgsbench.reporting.render import Table
from pgsbench.reporting.results import Results
from pgsbench.reporting.study_frames import Frames, read_frames

SPACE = {"strategy.tau": [0.1, 0.2, 0.3], "text.strategy": ["none", "random"]}
NAMES = {"strategy.tau": "tau", "text.strategy": "text"}
#: Gain in points by tau and text; they do not add up.
GAINS = {
    (0.1, "none"): 2,
    (0.2, "none"): 14,
    (0.3, "none"): 8,
    (0.1, "random"): 2,
    (0.2, "random"): 0,
    (0.3, "random"): 12,
}
LACKING, LACKED = ("flip", 2), "scenes/noise"


@dataclass
class Made:
    """What a report says of a study, and its twin.

    Attributes:
        report: The folder of the report.
        frames: The study.
        twin: Its twin.
    """

    report: Path
    frames: Frames
    twin: Twin

    @classmethod
    def of(cls, folder: Path, report: Path) -> Made:
        """Write the whole report of a study: all is asked in the order in which a command asks."""
        frames = read_frames(folder)
        write_report(Results(frames), report)
        return cls(report, frames, Twin(folder, NAMES))

    def table(self, *header: str) -> pd.DataFrame:
        """Return the first table of the report with these columns, in their order, as text with intervals."""
        found = next(one for one in self._tables if [*header] == [n for n in one.names if n in header])
        return pd.DataFrame(found.cells(), columns=found.names)

    @cached_property
    def _tables(self) -> list[Table]:
        results = Results(self.frames)
        tables = [arms_table(results), first_table(results), front_table(results), *detail_tables(results)]
        return [one for one in tables if one]

    @property
    def points(self) -> list[str]:
        """Labels of the searched points."""
        return [label for label in self.twin.runs["label"].unique() if label.startswith("pgs")]


def arms() -> list[tuple[str, Arm]]:
    points = [
        Arm(
            gain,
            params={"strategy.tau": tau, "text.strategy": text},
            flops=int(1e12 * (1 + tau + (text == "none"))),
        )
        for (tau, text), gain in GAINS.items()
    ]
    others = {"flip": Arm(0, flops=10**12), "none": Arm(9, mask_ratio=0.0, flops=22 * 10**11)}
    return [*(("pgs", point) for point in points), *others.items(), ("oracle", Arm(28, flops=10**12))]


def lacks_a_task(run: Path) -> None:
    """Take a task from a run, and from the mean of its group."""
    left = [score for score in Scores.read(run).scores if score.primary and score.task != LACKED]
    groups = {
        group: GroupMean(float(np.mean([s.value for s in left if s.group == group])), 0.0, 1.0, 1, 0.0)
        for group in dict.fromkeys(score.group for score in left)
    }
    replace_scores(run, lambda score: None if score.task == LACKED else score, groups=groups)


def make(root: Path) -> Path:
    """Write the study under a folder; return that of the study."""
    folder = write_runs(
        root / "runs", arms(), num_items=100, seed_sd=0.3, search={"arms": ["pgs"], "space": SPACE}
    )
    lacks_a_task(next(folder.glob(f"{LACKING[0]}-s{LACKING[1]}-*")))
    return folder


def numbers(cell: str) -> list[float]:
    """Return the numbers in a cell."""
    return [float(one) for one in re.findall(r"-?\d+(?:\.\d+)?", cell.replace("−", "-").replace(",", ""))]


def shown(*shares: float) -> object:
    """What a cell with these shares shows: percent with one decimal."""
    return pytest.approx([100 * share for share in shares], abs=0.0501)
