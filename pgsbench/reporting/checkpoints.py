"""Checkpoints on one suite: their scores, side by side, and how sure differences are.

Whoever tests one checkpoint waits for no statistics: pandas and SciPy take seconds to import.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from pgsbench.errors import EvaluationError
from pgsbench.records.scores import Scores
from pgsbench.reporting.render import COUNT, P_VALUE, PERCENT, POINTS, Estimate, Header, Table

if TYPE_CHECKING:
    from pgsbench.checkpoints import Evaluation
    from pgsbench.reporting.statistics.comparison import Comparison

_PERCENT = "Percent, with 95 % intervals."


def evaluation_tables(found: Sequence[Evaluation]) -> list[Table]:
    """Return what an evaluation prints: scores and group means, or several checkpoints side by side."""
    tables = list(score_tables(found[0].scores))
    if len(found) > 1:
        across = across_table({one.name: one.scores for one in found})
        tables = [across, difference_table(differences({one.name: one.folder for one in found}))]
    return tables


def evaluation_lines(found: Sequence[Evaluation]) -> list[str]:
    """Return what stands below the tables: what each model is, how much was measured, where scores lie."""
    lines = []
    for one in found:
        reused = len(one.scores.reused)
        lines.append(f"\n{one.name}: {one.model}" if len(found) > 1 else f"model: {one.model}")
        lines.append(f"tasks: {len(one.scores.primary()) - reused} measured, {reused} reused")
        lines += [f"scores: {one.folder / 'scores.json'}", f"        {one.folder / 'scores.csv'}"]
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
    return Table(f"Suite {first.suite}", header, rows, [_encoded(first), *sorted(marked)])


def score_tables(scores: Scores) -> tuple[Table, Table]:
    """Return the scores of one checkpoint that stand for the tasks, and the means of the groups."""
    rows: list[list[object]] = []
    for score in scores.primary().values():
        numbers = [Estimate(score.value, score.low, score.high), score.n, score.chance]
        notes = "; ".join(filter(None, [*score.notes, score.details]))
        rows.append([score.task, score.metric, *numbers, notes])
    header: Header = ["task", "metric", ("score", PERCENT), ("n", COUNT), ("chance", PERCENT), "note"]
    tasks = Table(f"Suite {scores.suite}", header, rows, [f"{_PERCENT} {_encoded(scores)}"])
    rows = []
    for group, mean in scores.groups.items():
        numbers = [Estimate(mean.value, mean.low, mean.high), mean.n_tasks, mean.chance]
        rows.append([group, mean.mean, *numbers, ", ".join(mean.marked)])
    header = ["group", "mean", ("score", PERCENT), ("tasks", COUNT), ("chance", PERCENT)]
    header += ["tasks with a note"]
    macro = ["macro: every task of a group weighs the same, whatever its size."]
    return tasks, Table("Groups", header, rows, macro)


def _encoded(scores: Scores) -> str:
    return f"Encoded in {scores.environment.get('precision', 'float32')}."


def differences(folders: Mapping[str, Path], *, baseline: str | None = None) -> list[Comparison]:
    """Return the differences of evaluated checkpoints to one of them, groups first, then tasks.

    Intervals and p-values are for these models only: what other training seeds would give is not in them.
    Holm's p-values are over all differences of the call.

    Args:
        folders: Name -> folder of its scores, all on the same suite and data.
        baseline: The one that is subtracted; default: the first.

    Raises:
        EvaluationError: The checkpoints were not tested on the same things, or scores cannot be read.
        RunError: Outcomes of items are missing or damaged.
        StudyError: A task has too few items for an interval.
    """
    from pgsbench.reporting.statistics.comparison import Comparison
    from pgsbench.reporting.statistics.intervals import difference, holm
    from pgsbench.reporting.statistics.paired_values import PairedValues
    from pgsbench.reporting.study_frames import primary_values

    scores = {name: Scores.read(folder) for name, folder in folders.items()}
    theirs = baseline or next(iter(scores))
    _check_alike(scores, theirs)
    values = {name: {0: primary_values(folders[name], found.scores)} for name, found in scores.items()}
    found = []
    for of, tasks in _scopes(scores[theirs]).items():
        paired = PairedValues.build(values, tasks, list(scores))
        found += [(ours, of, difference(paired, ours, theirs)) for ours in scores if ours != theirs]
    adjusted = holm([interval.p_value for _, _, interval in found])
    rows = zip(found, adjusted, strict=True)
    return [Comparison(ours, theirs, of, interval, adjusted_p=p) for (ours, of, interval), p in rows]


def difference_table(found: Sequence[Comparison]) -> Table:
    """Return differences as a table, in points."""
    from pgsbench.reporting.statistics.comparison import Missing

    rows = [
        [one.of, f"{one.candidate} − {one.baseline}", one.interval, one.interval.p_value, one.adjusted_p]
        for one in found
        if not isinstance(one.interval, Missing)
    ]
    notes = [
        "In points, paired by test item. These models only: another training seed would move them further "
        "than the intervals say.",
        "p (Holm) is corrected for all rows of this table.",
    ]
    numbers = [("points", POINTS), ("p", P_VALUE), ("p (Holm)", P_VALUE)]
    header: Header = ["group or task", "difference", *numbers]
    return Table("Differences", header, rows, notes)


def _check_alike(scores: Mapping[str, Scores], baseline: str) -> None:
    if baseline not in scores:
        raise EvaluationError("no such checkpoint was evaluated", value=baseline)
    for name, one in scores.items():
        for what in ("suite_fingerprint", "environment"):
            ours, theirs = (getattr(side, what) for side in (one, scores[baseline]))
            if ours != theirs:
                raise EvaluationError(
                    f"{name} and {baseline} were tested in different ways ({what})",
                    where=f"suite {one.suite}",
                    value=f"{ours} and {theirs}",
                    way_out="evaluate both in one command",
                )


def _scopes(scores: Scores) -> dict[str, dict[str, float]]:
    """Return what is compared: group -> weight of its tasks, and task -> itself."""
    tasks = scores.primary()
    groups = {
        group: [name for name, score in tasks.items() if score.group == group] for group in scores.groups
    }
    scopes = {group: dict.fromkeys(names, 1 / len(names)) for group, names in groups.items()}
    return scopes | {task: {task: 1.0} for task in tasks if task not in scopes}
