"""Scores of one checkpoint, of several side by side, and under a mask, as tables.

Whoever tests one checkpoint waits for no statistics: pandas and SciPy take seconds to import.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from pgsbench.records.scores import Scores
from pgsbench.reporting.render import COUNT, PERCENT, POINTS, Estimate, Header, Table

if TYPE_CHECKING:
    from pgsbench.checkpoints import Evaluation

_PERCENT = "Percent, with 95 % intervals."


def evaluation_tables(found: Sequence[Evaluation]) -> list[Table]:
    """Return what an evaluation prints: scores and group means, or several checkpoints side by side."""
    tables = list(score_tables(found[0].scores))
    if len(found) > 1:
        from pgsbench.reporting.checkpoints.differences import (  # SciPy takes seconds
            difference_table,
            differences,
        )

        across = across_table({one.name: one.scores for one in found})
        tables = [across, difference_table(differences({one.name: one.folder for one in found}))]
    return [*tables, *(mask_table(one.name, one.scores, one.masked) for one in found if one.masked)]


def evaluation_lines(found: Sequence[Evaluation]) -> list[str]:
    """Return what stands below the tables: what each model is, how much was measured, where scores lie."""
    lines = []
    for one in found:
        reused = len(one.scores.reused)
        lines.append(f"\n{one.name}: {one.model}" if len(found) > 1 else f"model: {one.model}")
        lines.append(f"tasks: {len(one.scores.primary()) - reused} measured, {reused} reused")
        for folder in (one.folder, *([one.masked_folder] if one.masked else [])):
            lines += [f"scores: {folder / 'scores.json'}", f"        {folder / 'scores.csv'}"]
    return lines


def across_table(scores: Mapping[str, Scores]) -> Table:
    """Return one table of several checkpoints: groups and tasks down, checkpoints across."""
    first = next(iter(scores.values()))
    rows: list[list[object]] = [
        [group, "macro mean", *(one.groups[group].value for one in scores.values())] for group in first.groups
    ]
    marked = set[str]()
    for task, score in first.primary().items():
        cells = [one.primary()[task] for one in scores.values()]
        rows.append([task, score.metric, *(cell.value for cell in cells)])
        marked |= {f"{task}: {note}" for cell in cells for note in cell.notes}
    header: Header = ["group or task", "metric", *((name, PERCENT) for name in scores)]
    return Table(f"Suite {first.suite}", header, rows, sorted(marked))


def score_tables(scores: Scores) -> tuple[Table, Table]:
    """Return the scores of one checkpoint that stand for the tasks, and the means of the groups."""
    rows: list[list[object]] = []
    for score in scores.primary().values():
        numbers = [Estimate(score.value, score.low, score.high), score.n, score.chance]
        notes = "; ".join(filter(None, [*score.notes, score.details]))
        rows.append([score.task, score.metric, *numbers, notes])
    header: Header = ["task", "metric", ("score", PERCENT), ("n", COUNT), ("chance", PERCENT), "note"]
    tasks = Table(f"Suite {scores.suite}", header, rows, [_PERCENT])
    rows = []
    for group, mean in scores.groups.items():
        numbers = [Estimate(mean.value, mean.low, mean.high), mean.n_tasks, mean.chance]
        rows.append([group, mean.mean, *numbers, ", ".join(mean.marked)])
    header = ["group", "mean", ("score", PERCENT), ("tasks", COUNT), ("chance", PERCENT)]
    header += ["tasks with a note"]
    macro = ["macro: every task of a group weighs the same, whatever its size."]
    return tasks, Table("Groups", header, rows, macro)


def mask_table(name: str, whole: Scores, masked: Scores) -> Table:
    """Return the group means on whole and on masked pictures, and what the mask costs at evaluation."""
    rows: list[list[object]] = []
    for group, mean in whole.groups.items():
        under = masked.groups[group].value
        rows.append([group, mean.value, under, under - mean.value])
    notes = ["Gap: masked minus whole, in points. Training saw masked pictures, except in its last phase."]
    header: Header = [
        "group",
        ("whole pictures", PERCENT),
        ("under the training mask", PERCENT),
        ("gap", POINTS),
    ]
    return Table(f"{name} under the mask of its training", header, rows, notes)
