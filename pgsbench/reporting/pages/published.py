"""Our scores beside those that CLIP-PGS's authors published, on the suites of their tables.

``published.csv`` holds the cells of the tables, ``published_averages.csv`` their averages; where they come
from, their first lines say. Nothing of it was measured here, so it is labelled as the paper's wherever it is
shown.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import cache
from pathlib import Path

import numpy as np

from pgsbench.config.schema import StrategyConfig
from pgsbench.reporting.render import PERCENT, POINTS, Header, Table, and_, percent
from pgsbench.reporting.results import Results

SOURCE = Path(__file__).with_name("published.csv")
AVERAGES = Path(__file__).with_name("published_averages.csv")
#: Marks a printed average that is not the mean of the cells it stands beside.
ASTRAY = "†"
#: All are printed to 0.1 points, so rounding moves a mean of cells by half of that, and an average by half.
_ROUNDING = 0.001
#: Suites whose tasks are those of the paper's tables.
SUITES = ("paper", "classification-17", "retrieval-3", "robustness-6", "sugarcrepe-7", "linear-probe-3")


@dataclass(frozen=True)
class Beside:
    """A score of ours and the paper's.

    Attributes:
        table: The paper's table.
        label: Our arm.
        method: The paper's name of it.
        task: The task.
        metric: The metric.
        ours: Mean over seeds, a share.
        theirs: The paper's, a share.
    """

    table: str
    label: str
    method: str
    task: str
    metric: str
    ours: float
    theirs: float


@dataclass(frozen=True)
class Average:
    """A mean over cells of one of the paper's tables.

    Attributes:
        table: The paper's table.
        name: The paper's name of it; empty where the table has no averages: all of its cells.
        tasks: Its tasks, patterns of names.
        printed: What the paper prints, method -> a share; empty where the table has no averages.
    """

    table: str
    name: str
    tasks: tuple[str, ...]
    printed: Mapping[str, float]

    def of(self, table: str, task: str) -> bool:
        """Whether it is an average over a cell of this table and task."""
        return table == self.table and any(fnmatchcase(task, pattern) for pattern in self.tasks)

    def cells(self, method: str) -> list[float]:
        """Return the paper's cells that it is an average of, shares."""
        every = published().items()
        return [share for (of, task, _), (table, share) in every if of == method and self.of(table, task)]

    def follows(self, method: str) -> bool:
        """Whether the printed average is the mean of its cells, but for rounding."""
        return abs(self.printed[method] - float(np.mean(self.cells(method)))) <= _ROUNDING + 1e-9


@cache
def published() -> Mapping[tuple[str, str, str], tuple[str, float]]:
    """Return (method, task, metric) -> (table, score as a share)."""
    return {
        (row["method"], row["task"], row["metric"]): (row["table"], float(row["value"]) / 100)
        for row in _rows(SOURCE)
    }


@cache
def averages() -> tuple[Average, ...]:
    """Return the averages of each of the paper's tables, in its order; a table without any is one whole."""
    methods = dict.fromkeys(method for method, _, _ in published())
    read = []
    for row in _rows(AVERAGES):
        printed = {method: float(row[method]) / 100 for method in methods}
        read.append(Average(row["table"], row["average"], tuple(row["tasks"].split()), printed))
    found: list[Average] = []
    for table in dict.fromkeys(table for table, _ in published().values()):
        found += [one for one in read if one.table == table] or [Average(table, "", ("*",), {})]
    return tuple(found)


def method_of(strategy: StrategyConfig) -> str:
    """Return the paper's name of a strategy with its settings; empty where the paper has none of the kind."""
    fields = strategy.fields
    ratio, largest = fields.get("mask_ratio"), fields.get("max_ratio")
    match strategy.name:
        case "none":
            return "CLIP"
        case "flip" if ratio == 0.5:
            return "FLIP"
        case "attentive" if ratio == 0.5:
            return "A-CLIP"
        case "cluster":
            return "E-CLIP"
        case "pgs" if ratio == 0.5 and largest in (None, 0.5):
            return "CLIP-PGS-0.5"
        case "pgs" if ratio == 0.3 and largest == 0.5:
            return "CLIP-PGS-0.3"
    return ""


def beside_paper(results: Results) -> list[Beside]:
    """Return all scores that the paper has, too; none where the study was tested on other suites."""
    if not any(run.scores is not None and run.scores.suite in SUITES for run in results.study.runs):
        return []
    found, of = [], published()
    for label in results.study.labels:
        config = results.study.of(label)[0].spec.config
        method = method_of(config.strategy) if config.text.strategy == "none" else ""
        mine = results.study.scores[results.study.scores["label"] == label]
        for (task, metric), values in mine.groupby(["task", "metric"], sort=False)["value"]:
            key = (method, str(task), str(metric))
            if key in of:
                table, theirs = of[key]
                found.append(Beside(table, label, *key, float(values.mean()), theirs))
    return found


def means_table(results: Results, found: list[Beside]) -> Table | None:
    """Return ours, the paper's and the difference for each arm and average of the paper's tables."""
    rows = []
    for label, method in dict.fromkeys((one.label, one.method) for one in found):
        for average in averages():
            cells = [one for one in found if one.label == label and average.of(one.table, one.task)]
            if not cells:
                continue
            ours, theirs = (
                float(np.mean([getattr(one, side) for one in cells])) for side in ("ours", "theirs")
            )
            name = ", ".join(filter(None, (average.table, average.name)))
            printed = _printed(average, method)
            have = f"{len(cells)} of {len(average.cells(method))}"
            rows.append([label, name, method, have, ours, theirs, ours - theirs, printed])
    if not rows:
        return None
    sources = dict.fromkeys(run.spec.config.data.source for run in results.study.runs)
    notes = [
        "The paper's: copied from the tables of CLIP-PGS (arXiv 2503.17080), not measured here; trained on "
        f"CC12M with ViT-B/16. Ours: means over seeds, trained on {and_(list(sources))}. Both are means "
        "of the cells that both have, each counting the same. Printed: the paper's average of all its cells.",
    ]
    if any(ASTRAY in str(row[-1]) for row in rows):
        notes.append(
            f"{ASTRAY} The paper's average is not the mean of its own cells; rounding does not explain it."
        )
    header: Header = ["arm", "the paper's average", "the paper's method", "cells", *_HEADS, "printed"]
    return Table("Beside the paper", header, rows, notes)


def cells_table(found: list[Beside]) -> Table | None:
    """Return ours, the paper's and the difference cell by cell."""
    if not found:
        return None
    rows = [[one.label, one.task, one.metric, one.ours, one.theirs, one.ours - one.theirs] for one in found]
    header: Header = ["arm", "task", "metric", *_HEADS]
    return Table("Beside the paper, cell by cell", header, rows, num_keys=2)


_HEADS = (("ours", PERCENT), ("the paper's", PERCENT), ("difference", POINTS))


def _printed(average: Average, method: str) -> str:
    if not average.printed:
        return "none"
    return percent(average.printed[method]) + ("" if average.follows(method) else f" {ASTRAY}")


def _rows(file: Path) -> Iterator[dict[str, str]]:
    lines = [line for line in file.read_text(encoding="utf-8").splitlines() if not line.startswith("#")]
    return csv.DictReader(lines)
