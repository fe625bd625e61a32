"""Checkpoints side by side on one suite: how sure the differences between them are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pgsbench.errors import EvaluationError
from pgsbench.records.scores import Scores
from pgsbench.reporting.render import P_VALUE, POINTS, Header, Table
from pgsbench.reporting.statistics.intervals import Interval, difference, holm
from pgsbench.reporting.statistics.paired_values import PairedValues
from pgsbench.reporting.study_frames import primary_values


@dataclass(frozen=True)
class Difference:
    """One checkpoint minus another on a task or the macro mean of a group, paired by test item.

    Attributes:
        candidate: Name of the one.
        baseline: Name of the other.
        of: Name of the task or group.
        interval: The difference with interval and p-value, for these two models only: what other training
            seeds would give is not in it.
        adjusted_p: Holm's p-value over all differences of the call.
    """

    candidate: str
    baseline: str
    of: str
    interval: Interval
    adjusted_p: float


def differences(folders: Mapping[str, Path], *, baseline: str | None = None) -> list[Difference]:
    """Return the differences of evaluated checkpoints to one of them, groups first, then tasks.

    Args:
        folders: Name -> folder of its scores, all on the same suite and data.
        baseline: The one that is subtracted; default: the first.

    Raises:
        EvaluationError: The checkpoints were not tested on the same things, or scores cannot be read.
        RunError: Outcomes of items are missing or damaged.
        StudyError: A task has too few items for an interval.
    """
    scores = {name: Scores.read(folder) for name, folder in folders.items()}
    theirs = baseline or next(iter(scores))
    _check_alike(scores, theirs)
    values = {name: {0: primary_values(folders[name], found.scores)} for name, found in scores.items()}
    found = []
    for of, tasks in _scopes(scores[theirs]).items():
        paired = PairedValues.build(values, tasks, list(scores))
        found += [(ours, of, difference(paired, ours, theirs)) for ours in scores if ours != theirs]
    adjusted = holm([interval.p_value for _, _, interval in found])
    return [
        Difference(ours, theirs, of, interval, p)
        for (ours, of, interval), p in zip(found, adjusted, strict=True)
    ]


def difference_table(found: Sequence[Difference]) -> Table:
    """Return differences as a table, in points."""
    rows: list[list[object]] = [
        [
            one.of,
            f"{one.candidate} − {one.baseline}",
            one.interval,
            one.interval.p_value,
            one.adjusted_p,
        ]
        for one in found
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
        for what in ("suite_fingerprint", "mask", "environment"):
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
