"""The objective of a study: the one number by which its points are ranked."""

from __future__ import annotations

import statistics
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

from pgsbench.errors import StudyError, nearest
from pgsbench.records.scores import Scores

if TYPE_CHECKING:
    from pgsbench.evaluation.suite import Suite

MEAN = "mean"


@dataclass(frozen=True)
class Objective:
    """What a search maximises.

    Attributes:
        name: ``mean`` of the suite's groups, the name of a group, or ``TASK/METRIC``.
    """

    name: str = MEAN
    direction: ClassVar[Literal["maximize"]] = "maximize"

    @property
    def is_mean(self) -> bool:
        """Whether it is the mean of all groups."""
        return self.name == MEAN

    @property
    def task_and_metric(self) -> tuple[str, str]:
        """The task and the metric of ``TASK/METRIC``."""
        task, _, metric = self.name.rpartition("/")
        return task, metric

    def value(self, scores: Scores) -> float:
        """Return the number for one run.

        Raises:
            StudyError: The scores have no such number.
        """
        groups = {name: group.value for name, group in scores.groups.items()}
        if self.is_mean:
            return statistics.fmean(groups.values())
        if self.name in groups:
            return groups[self.name]
        named = {f"{score.task}/{score.metric}": score.value for score in scores.scores}
        if self.name not in named:
            raise self._unknown([MEAN, *groups, *named])
        return named[self.name]

    def check(self, suite: Suite) -> None:
        """Check before a search that a suite measures it.

        Which metrics a task has beside its main one is known when it has been measured.

        Raises:
            StudyError: No group and no task has this name.
        """
        groups = sorted({task.group for task in suite.tasks})
        tasks = {task.name for task in suite.tasks}
        if self.name not in (MEAN, *groups) and self.task_and_metric[0] not in tasks:
            raise self._unknown([MEAN, *groups, *(f"{task.name}/{task.metric}" for task in suite.tasks)])

    def _unknown(self, known: list[str]) -> StudyError:
        return StudyError(
            "the suite has no such score",
            where="search.metric",
            value=self.name,
            way_out=nearest(self.name, known),
        )
