"""From what was measured to scores with intervals, and to the means of groups."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from pgsbench.errors import EvaluationError
from pgsbench.evaluation import task_results
from pgsbench.evaluation.protocols.base import Measurement
from pgsbench.evaluation.score_intervals import group_interval, interval
from pgsbench.evaluation.suite import Suite, Task
from pgsbench.records.scores import GroupMean, Score


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
