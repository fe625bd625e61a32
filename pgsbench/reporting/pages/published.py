"""Our scores beside those that CLIP-PGS's authors published, on the suites of their tables.

``published.csv`` holds the cells of the tables; where they come from, its first lines say. Nothing of it was
measured here, so it is labelled as the paper's wherever it is shown.
"""

from __future__ import annotations

import csv
from collections.abc import Mapping
from functools import cache
from pathlib import Path

import numpy as np

from pgsbench.config.schema import StrategyConfig
from pgsbench.reporting.render import PERCENT, POINTS, Header, Table, and_
from pgsbench.reporting.results import Results

SOURCE = Path(__file__).with_name("published.csv")
#: Suites whose tasks are those of the paper's tables.
SUITES = ("paper", "classification-17", "retrieval-3", "robustness-6", "sugarcrepe-7", "linear-probe-3")


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


def paper_table(results: Results) -> Table | None:
    """Return our scores beside the paper's, cell by cell, the mean of each of its tables first.

    None where the study was tested on other suites, or no arm is a method of the paper.
    """
    if not any(run.scores is not None and run.scores.suite in SUITES for run in results.study.runs):
        return None
    of, rows = published(), list[list[object]]()
    for label in results.study.labels:
        config = results.study.of(label)[0].spec.config
        method = method_of(config.strategy) if config.text.strategy == "none" else ""
        mine = results.study.scores[results.study.scores["label"] == label]
        by_table: dict[str, list[tuple[str, str, float, float]]] = {}
        for (task, metric), values in mine.groupby(["task", "metric"], sort=False)["value"]:
            if (key := (method, str(task), str(metric))) in of:
                table, theirs = of[key]
                by_table.setdefault(table, []).append((*key[1:], float(values.mean()), theirs))
        for table, cells in by_table.items():
            mean = (float(np.mean([cell[side] for cell in cells])) for side in (2, 3))
            first = (table, f"mean of {len(cells)}", next(mean), next(mean))
            for task, metric, ours, theirs in (first, *cells):
                rows.append([label, method, task, metric, ours, theirs, ours - theirs])
    if not rows:
        return None
    sources = list(dict.fromkeys(run.spec.config.data.source for run in results.study.runs))
    notes = [
        "The paper's: copied from the tables of CLIP-PGS (arXiv 2503.17080), not measured here; trained on "
        f"CC12M with ViT-B/16. Ours: means over seeds, trained on {and_(sources)}. Means are of the cells "
        "that both have, each counting the same.",
    ]
    numbers = [("ours", PERCENT), ("the paper's", PERCENT), ("difference", POINTS)]
    header: Header = ["arm", "the paper's method", "task or table", "metric", *numbers]
    return Table("Beside the paper", header, rows, notes, num_keys=3)
