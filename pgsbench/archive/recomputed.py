"""Scores, their intervals and the means of groups made again from per-item outcomes."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from pgsbench.disk.whole_files import UNREADABLE
from pgsbench.errors import EvaluationError
from pgsbench.evaluation.protocols.base import Measurement
from pgsbench.evaluation.score_intervals import group_interval
from pgsbench.evaluation.task_results import outcomes_of
from pgsbench.records.scores import GroupMean, Score, Scores

#: A number that is made again and the one that is written differ by no more.
ROUNDING = 1e-6


def recompute(folder: Path, scores: Scores) -> tuple[int, list[str]]:
    """Return how many scores have outcomes, and what does not follow from these.

    Args:
        folder: The run directory.
        scores: What is written of it.
    """
    found = {
        (score.task, score.metric): _outcomes(folder, score) for score in scores.scores if score.per_sample
    }
    told = [
        one if isinstance(one, str) else _problem(_name(score), score, [one])
        for score in scores.scores
        if (one := found.get((score.task, score.metric))) is not None
    ]
    for group, mean in scores.groups.items():
        primary = [score for score in scores.scores if score.primary and score.group == group]
        measured = [
            one
            for one in (found.get((score.task, score.metric)) for score in primary)
            if isinstance(one, Measurement)
        ]
        if len(primary) != mean.n_tasks:
            told.append(f"the mean of {group} is over {mean.n_tasks} tasks, {len(primary)} are there")
        elif measured and len(measured) == len(primary):
            told.append(_problem(f"the mean of {group}", mean, measured))
    return len(found), [problem for problem in told if problem]


def _name(score: Score) -> str:
    return f"{score.task}/{score.metric}"


def _outcomes(folder: Path, score: Score) -> Measurement | str:
    """Return what a score was made from, or why they are none."""
    try:
        return outcomes_of(folder, score)
    except (*UNREADABLE, EvaluationError) as error:
        return f"{_name(score)}: outcomes cannot be read ({error})"


def _problem(name: str, written: Score | GroupMean, measured: list[Measurement]) -> str:
    """Return what is wrong with a mean over tasks, or with that of one task; empty: nothing."""
    again = float(np.mean([one.value for one in measured]))
    if abs(again - written.value) > ROUNDING:
        return f"{name} is {written.value}, its outcomes give {again}"
    low, high = group_interval(measured)
    if abs(low - written.low) > ROUNDING or abs(high - written.high) > ROUNDING:
        ours = f"its outcomes give {low:.6f} to {high:.6f}"
        return f"{name} has the interval {written.low:.6f} to {written.high:.6f}, {ours}"
    return ""
