"""From what was measured to scores with 95 % intervals, and to the means of groups.

The unit of chance is the unit of drawing (`Measurement.units`, usually an image): whatever was drawn
together counts together, within a task and across tasks. docs/statistics.md says how often these cover.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from pgsbench.errors import EvaluationError
from pgsbench.evaluation import task_results
from pgsbench.evaluation.protocols.base import Measurement
from pgsbench.evaluation.suite import Suite, Task
from pgsbench.records.scores import GroupMean, Score

Z = 1.959964  #: 97.5 % point of the normal distribution.
ALIKE = 1e-6  #: What units differ by less than this is rounding.


class _Part(NamedTuple):
    """A plain mean that enters the one we are after: of a task, or of a class of a mean over classes.

    Attributes:
        weight: Its weight; those of all parts sum to one.
        value: The mean of its outcomes.
        size: How many independent items carry as much as these do, or fewer.
        units: (u,) number of each distinct unit.
        pull: (u,) how much each unit moves the mean, as a vector of length one.
    """

    weight: float
    value: float
    size: float
    units: NDArray[np.int64]
    pull: NDArray[np.float64]


def scores_of(task: Task, measurements: Sequence[Measurement], key: str) -> list[Score]:
    """Return a task's scores.

    Args:
        task: The task.
        measurements: What was measured.
        key: What it was measured on (`pgsbench.evaluation.identity.task_key`).

    Raises:
        EvaluationError: The task's metric was not measured.
    """
    primary_of(task, measurements)
    scores = []
    for m in measurements:
        low, high = interval(m)
        is_primary = m.metric == task.metric
        chance = task.chance if is_primary and task.chance is not None else m.chance
        scores.append(
            Score(
                task.name,
                task.group,
                task.protocol_name,
                m.metric,
                m.value,
                len(m.correct),
                low,
                high,
                chance,
                is_primary,
                task.version,
                task_results.outcomes_file(task, m.metric, key),
                m.num_ties,
                list(m.notes),
                m.details,
                key,
            )
        )
    return scores


def primary_of(task: Task, measurements: Sequence[Measurement]) -> Measurement:
    """Return the measurement that stands for a task.

    Raises:
        EvaluationError: It was not measured.
    """
    for measurement in measurements:
        if measurement.metric == task.metric:
            return measurement
    raise EvaluationError(
        "the task's metric was not measured",
        where=task.name,
        value=task.metric,
        way_out=f"name one of {', '.join(m.metric for m in measurements)} as `metric` in the suite",
    )


def group_means(suite: Suite, measured: Mapping[str, Sequence[Measurement]]) -> dict[str, GroupMean]:
    """Return the mean of every group of a suite over what was measured, by task name."""
    means = {}
    for group in dict.fromkeys(task.group for task in suite.tasks):
        tasks = [task for task in suite.tasks if task.group == group]
        primary = [primary_of(task, measured[task.name]) for task in tasks]
        chances = [m.chance if t.chance is None else t.chance for t, m in zip(tasks, primary, strict=True)]
        low, high = group_interval(primary)
        value = float(np.mean([m.value for m in primary]))
        marked = tuple(task.name for task, m in zip(tasks, primary, strict=True) if m.notes)
        means[group] = GroupMean(value, low, high, len(tasks), float(np.mean(chances)), marked=marked)
    return means


def interval(measurement: Measurement) -> tuple[float, float]:
    """Return the 95 % interval of a metric.

    Plain means get Wilson's score interval at the effective number of items (`wilson`), means over classes
    that of `group_interval` with classes for tasks.
    """
    return group_interval([measurement])


def group_interval(measurements: Sequence[Measurement]) -> tuple[float, float]:
    """Return the 95 % interval of the plain mean over several metrics, one for each task of a group.

    Price and Bonett (2004): before the variance is taken, four pseudo-items, two of them right, are shared
    out among the parts (tasks, or their classes), so that a part that is all right is not certain and many
    parts are not moved. Deviations: a part gets of them what it may contribute to the variance, which is the
    same for all where they are of one size, and not an equal share. It also gets the spread of one more item
    at the level of the whole, which makes up for the degree of freedom that its mean takes: of a class with
    one picture that is all there is. Parts that share units are as correlated as their outcomes are, two
    that are each all alike fully so; pseudo-items are then multiplied by what that adds to the variance, as
    parts that move together are but one.
    """
    parts = list(_parts(measurements))
    if len(parts) == 1:
        return wilson(parts[0].value, parts[0].size)
    weight, value, size = (np.array([part[i] for part in parts]) for i in range(3))
    part_of = np.repeat(np.arange(len(parts)), [len(part.units) for part in parts])
    unit = np.concatenate([part.units for part in parts])
    pull = np.concatenate([part.pull for part in parts])
    share = weight**2 / size / (weight**2 / size).sum()
    overlap = 1.0
    for _ in range(2):  # how much overlap adds is known only once it is known how much each part moves
        pseudo = 4 * np.minimum(1.0, overlap * share)
        sizes = size + pseudo
        level = (size * value + pseudo / 2) / sizes
        centre = float(weight @ level)
        error = weight * np.sqrt(sizes * level * (1 - level) + centre * (1 - centre)) / sizes
        variance = float(np.square(np.bincount(unit, weights=error[part_of] * pull)).sum())
        overlap = max(1.0, variance / float(error @ error))
    reach = Z * math.sqrt(variance)
    found = float(weight @ value)
    return max(0.0, min(found, centre - reach)), min(1.0, max(found, centre + reach))


def wilson(share: float, n: float) -> tuple[float, float]:
    """Return Wilson's 95 % score interval (1927) of a share seen among n independent items."""
    centre = share + Z**2 / (2 * n)
    half = Z * math.sqrt(max(0.0, share * (1 - share)) / n + Z**2 / (4 * n**2))
    scale = 1 + Z**2 / n
    return max(0.0, (centre - half) / scale), min(1.0, (centre + half) / scale)


def _parts(measurements: Sequence[Measurement]) -> Iterator[_Part]:
    names = [np.asarray(m.items if m.units is None else m.units) for m in measurements]
    units = np.unique(np.concatenate(names), return_inverse=True)[1].reshape(-1)
    of_tasks = np.split(units, np.cumsum([len(of_task) for of_task in names])[:-1])
    for m, of_task in zip(measurements, of_tasks, strict=True):
        strata = np.zeros(len(of_task), np.int64) if m.strata is None else m.strata
        order = np.argsort(strata, kind="stable")
        classes = np.split(order, np.flatnonzero(np.diff(strata[order])) + 1)
        for rows in classes:
            yield _part(1 / (len(measurements) * len(classes)), m.correct[rows], of_task[rows])


def _part(weight: float, outcomes: NDArray[np.float64], units: NDArray[np.int64]) -> _Part:
    """Return a part; its size is the number of items over Kish's design effect.

    That is the number of yes-or-no items whose mean would vary as this one does, so it holds for values that
    are neither, such as pseudo-values of a jackknife. Where all units are alike it is their number.
    """
    n, value = len(outcomes), float(outcomes.mean())
    distinct, index = np.unique(units, return_inverse=True)
    moved = np.bincount(index, weights=outcomes - value)
    length = float(np.linalg.norm(moved))
    if length < ALIKE:
        return _Part(weight, value, len(distinct), distinct, np.full(len(distinct), len(distinct) ** -0.5))
    size = float(np.clip(value * (1 - value) * (n / length) ** 2, 1.0, n))
    return _Part(weight, value, size, distinct, moved / length)
