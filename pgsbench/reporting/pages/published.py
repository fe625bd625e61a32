"""Our scores beside those that CLIP-PGS's authors published, on the suites of their tables.

``published.csv`` holds the cells of the tables; where they come from, its first lines say. Nothing of it was
measured here, so it is labelled as the paper's wherever it is shown.
"""

from __future__ import annotations

import csv
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np

from pgsbench.config.schema import StrategyConfig
from pgsbench.reporting.render import Table, and_, percent, points
from pgsbench.reporting.results import Results

SOURCE = Path(__file__).with_name("published.csv")
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


@cache
def published() -> Mapping[tuple[str, str, str], tuple[str, float]]:
    """Return (method, task, metric) -> (table, score as a share)."""
    lines = [line for line in SOURCE.read_text(encoding="utf-8").splitlines() if not line.startswith("#")]
    return {
        (row["method"], row["task"], row["metric"]): (row["table"], float(row["value"]) / 100)
        for row in csv.DictReader(lines)
    }


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
            table, theirs = of.get((method, str(task), str(metric)), ("", 0.0))
            if table:
                found.append(
                    Beside(table, label, method, str(task), str(metric), float(values.mean()), theirs)
                )
    return found


def means_table(results: Results, found: list[Beside]) -> Table | None:
    """Return ours, the paper's and the difference for each arm and table of the paper."""
    parts = dict.fromkeys((one.label, one.method, one.table) for one in found)
    rows = []
    for label, method, table in parts:
        cells = [one for one in found if (one.label, one.table) == (label, table)]
        ours, theirs = (float(np.mean([getattr(one, side) for one in cells])) for side in ("ours", "theirs"))
        whole = sum(key[0] == method and of[0] == table for key, of in published().items())
        rows.append(
            [label, table, method, f"{len(cells)} of {whole}", *_cells(ours, theirs)],
        )
    if not rows:
        return None
    sources = dict.fromkeys(run.spec.config.data.source for run in results.study.runs)
    notes = [
        "The paper's: copied from the tables of CLIP-PGS (arXiv 2503.17080), not measured here; trained on "
        f"CC12M with ViT-B/16. Ours: means over seeds, trained on {and_(list(sources))}. Means are of the "
        "cells that both have, each counting the same, not the averages that the paper prints.",
    ]
    header = ["arm", "the paper's table", "the paper's method", "cells", "ours", "the paper's", "difference"]
    return Table("Beside the paper", header, rows, notes, text_columns=(1, 2))


def cells_table(found: list[Beside]) -> Table | None:
    """Return ours, the paper's and the difference cell by cell."""
    if not found:
        return None
    rows = [[one.label, one.task, one.metric, *_cells(one.ours, one.theirs)] for one in found]
    header = ["arm", "task", "metric", "ours", "the paper's", "difference"]
    return Table("Beside the paper, cell by cell", header, rows, text_columns=(1, 2), num_keys=2)


def _cells(ours: float, theirs: float) -> list[str]:
    return [percent(ours), percent(theirs), points(ours - theirs)]
