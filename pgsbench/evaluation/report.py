"""What an evaluation leaves behind in the end: ``scores.json``, and the scores as ``scores.csv``."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

import numpy as np

from pgsbench.errors import EvaluationError
from pgsbench.evaluation import results
from pgsbench.evaluation.intervals import group_interval, interval
from pgsbench.evaluation.protocols.base import Measurement
from pgsbench.evaluation.score import Score
from pgsbench.evaluation.suite import Suite, Task
from pgsbench.files import atomic

SCORES = "scores.json"
SCORES_CSV = "scores.csv"


@dataclass(frozen=True)
class GroupMean:
    """The mean over the tasks of a group, each task counting the same (macro).

    Attributes:
        value: The mean of the tasks' primary metrics.
        low: Lower end of its 95 % interval.
        high: Upper end of its 95 % interval.
        n_tasks: Number of tasks.
        chance: The mean of what guessing gives.
        mean: How the mean is taken.
        marked: Tasks whose score bears notes, which hold for the mean, too.
    """

    value: float
    low: float
    high: float
    n_tasks: int
    chance: float
    mean: str = "macro"
    marked: Sequence[str] = ()


@dataclass(frozen=True)
class Report:
    """All scores of one checkpoint on one suite: the content of ``scores.json``.

    Attributes:
        suite: Name of the suite.
        suite_version: Its version.
        suite_fingerprint: Hash of all that was measured on (`pgsbench.evaluation.identity`).
        checkpoint_sha256: Hash of the weights that were measured.
        mask: What hid patches from the model, as a strategy with its fields and seed; None: nothing.
        scores: One for each metric of each task, in the suite's order.
        groups: The mean of each group, in the suite's order.
        num_images: Distinct pictures the scores rest on; one that tasks of two calls share counts twice.
        num_texts: Distinct texts, likewise.
        architecture: open_clip's configuration of the model.
        activations: Activation functions of the model.
        preprocess: open_clip's preprocessing configuration that the pictures went through.
        environment: Kind of device, precision, versions of the libraries that encode.
        files: Task -> text file (class names, templates, captions) -> the first 16 digits of its SHA-256;
            equal hashes are equal prompts in the same language.
        protocols: Task -> the fields of its protocol, such as the split.
        reused: Tasks that had been measured before; said to the caller, not written.
    """

    suite: str
    suite_version: int
    suite_fingerprint: str
    checkpoint_sha256: str
    mask: Mapping[str, Any] | None
    scores: tuple[Score, ...]
    groups: Mapping[str, GroupMean]
    num_images: int
    num_texts: int
    architecture: Mapping[str, Any]
    activations: tuple[str, ...]
    preprocess: Mapping[str, Any]
    environment: Mapping[str, str]
    files: Mapping[str, Mapping[str, str]]
    protocols: Mapping[str, Mapping[str, Any]]
    reused: tuple[str, ...] = field(default=(), compare=False)

    def primary(self) -> dict[str, Score]:
        """Return the score that stands for each task, by task name."""
        return {score.task: score for score in self.scores if score.primary}

    def write(self, out: Path) -> None:
        """Replace ``scores.csv`` and ``scores.json`` in the folder `out`."""
        content = asdict(self)
        del content["reused"]
        with atomic(out / SCORES_CSV) as scratch:
            scratch.write_text(self._table(), encoding="utf-8")
        with atomic(out / SCORES) as scratch:
            scratch.write_text(json.dumps(content, indent=1, allow_nan=False) + "\n")

    def _table(self) -> str:
        text = io.StringIO()
        table = csv.DictWriter(text, [column.name for column in fields(Score)], lineterminator="\n")
        table.writeheader()
        for score in self.scores:
            table.writerow(score.to_json() | {"notes": "; ".join(score.notes)})
        return text.getvalue()

    @classmethod
    def read(cls, out: Path) -> Report:
        """Return the report in the folder `out`.

        Raises:
            EvaluationError: There is none, or it is damaged.
        """
        try:
            content = json.loads((out / SCORES).read_text())
            content["scores"] = tuple(Score(**score) for score in content["scores"])
            content["groups"] = {name: GroupMean(**mean) for name, mean in content["groups"].items()}
            return cls(**content)
        except (OSError, ValueError, TypeError, KeyError) as error:
            raise EvaluationError(
                f"no readable scores here ({type(error).__name__})",
                where=str(out / SCORES),
                way_out="pgsbench evaluate RUN_OR_CHECKPOINT",
            ) from error


def scores_of(task: Task, measurements: Sequence[Measurement]) -> list[Score]:
    """Return a task's scores.

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
                task.name, task.group, task.protocol_name, m.metric, m.value, len(m.correct), low, high,
                chance, is_primary, task.version, results.per_sample_file(task, m.metric), m.num_ties,
                list(m.notes), m.details,
            )
        )  # fmt: skip
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
        "the task's metric was not measured", where=task.name, value=task.metric,
        way_out=f"name one of {', '.join(m.metric for m in measurements)} as `metric` in the suite",
    )  # fmt: skip


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
