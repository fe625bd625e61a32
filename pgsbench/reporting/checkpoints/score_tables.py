"""Scores of one checkpoint, of several side by side, and under a mask, as tables.

Whoever tests one checkpoint waits for no statistics: pandas and SciPy take seconds to import.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from pgsbench.records.scores import Scores
from pgsbench.reporting.render import Table, points

if TYPE_CHECKING:
    from pgsbench.checkpoints import Evaluation


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
    rows = [
        [group, "macro mean", *(f"{one.groups[group].value:.1%}" for one in scores.values())]
        for group in first.groups
    ]
    marked = set[str]()
    for task, score in first.primary().items():
        cells = [one.primary()[task] for one in scores.values()]
        rows.append([task, score.metric, *(f"{cell.value:.1%}{'*' if cell.notes else ''}" for cell in cells)])
        marked |= {f"* {task}: {note}" for cell in cells for note in cell.notes}
    header = ["group or task", "metric", *scores]
    return Table(f"Suite {first.suite}", header, rows, sorted(marked), text_columns=(1,))


def score_tables(scores: Scores) -> tuple[Table, Table]:
    """Return the scores of one checkpoint that stand for the tasks, and the means of the groups."""
    rows = []
    for score in scores.primary().values():
        interval = f"{score.low:.1%} to {score.high:.1%}"
        numbers = [f"{score.value:.1%}", interval, str(score.n), f"{score.chance:.1%}"]
        notes = "; ".join(filter(None, [*score.notes, score.details]))
        rows.append([score.task, score.metric, *numbers, notes])
    header = ["task", "metric", "score", "95 % interval", "n", "chance", "note"]
    tasks = Table(f"Suite {scores.suite}", header, rows, [], text_columns=(1, 6))
    rows = []
    for group, mean in scores.groups.items():
        interval = f"{mean.low:.1%} to {mean.high:.1%}"
        numbers = [f"{mean.value:.1%}", interval, str(mean.n_tasks), f"{mean.chance:.1%}"]
        rows.append([group, mean.mean, *numbers, ", ".join(mean.marked)])
    header = ["group", "mean", "score", "95 % interval", "tasks", "chance", "tasks with a note"]
    macro = ["macro: every task of a group weighs the same, whatever its size."]
    return tasks, Table("Groups", header, rows, macro, text_columns=(1, 6))


def mask_table(name: str, whole: Scores, masked: Scores) -> Table:
    """Return the group means on whole and on masked pictures, and what the mask costs at evaluation."""
    rows = []
    for group, mean in whole.groups.items():
        under = masked.groups[group].value
        rows.append([group, f"{mean.value:.1%}", f"{under:.1%}", points(under - mean.value)])
    notes = ["Gap: masked minus whole, in points. Training saw masked pictures, except in its last phase."]
    header = ["group", "whole pictures", "under the training mask", "gap"]
    return Table(f"{name} under the mask of its training", header, rows, notes)
