"""What a study compares: the number by which its points are ranked, the cost beside it, and baselines."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from pgsbench.config.schema import ModelConfig, arm_name
from pgsbench.config.search import MEAN, SearchConfig
from pgsbench.errors import ConfigError, StudyError, nearest
from pgsbench.records.run_records import Summary
from pgsbench.records.scores import Scores

if TYPE_CHECKING:
    from pgsbench.evaluation.suite import Suite


@dataclass(frozen=True)
class Objective:
    """What a search maximises, or a cost that it minimises beside a score.

    Attributes:
        name: ``mean`` of the suite's groups, the name of a group, or ``TASK/METRIC``; of a cost one of
            `pgsbench.config.search.COSTS`.
        is_cost: Whether it is a cost.
    """

    name: str = MEAN
    is_cost: bool = False

    @property
    def direction(self) -> Literal["maximize", "minimize"]:
        """Which way is better."""
        return "minimize" if self.is_cost else "maximize"

    def value_of(self, scores: Scores | None, summary: Summary | None, device: str) -> float:
        """Return the number for one run that is complete."""
        if self.is_cost:
            return cost_of(self.name, summary, device)
        assert scores is not None
        return self.value(scores)

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
        if self.name == MEAN:
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


def cost_of(name: str, summary: Summary | None, device: str) -> float:
    """Return what a run has cost.

    Args:
        name: One of `pgsbench.config.search.COSTS`.
        summary: Of the run.
        device: Type of the device that it was trained on.

    Raises:
        StudyError: It was not measured, as the memory of a CPU run.
    """
    found = None
    if summary is not None:
        found = {
            "train_seconds": summary.time_on(device),
            "tokens": summary.visual_tokens + (summary.text_tokens or 0),
            "flops": summary.flops,
            "memory": summary.peak_memory_bytes,
        }[name]
    if found is None:
        raise StudyError("this cost was not measured here", where="search", value=name)
    return float(found)


def is_above(search: SearchConfig, summaries: Sequence[Summary], device: str) -> bool:
    """Tell whether a point costs more than the search allows, in the mean of its runs, as far as is known.

    Args:
        search: What is searched.
        summaries: Of the point's complete runs.
        device: Type of the device that they were trained on.
    """
    for name, limit in search.at_most.items() if summaries else ():
        with suppress(StudyError):  # it was not measured
            if statistics.fmean(cost_of(name, one, device) for one in summaries) > limit:
                return True
    return False


def check_costs(search: SearchConfig, device: str, models: Iterable[ModelConfig]) -> None:
    """Check before a search that all of its costs will be measured.

    Args:
        search: What is searched.
        device: Type of the device that runs are trained on.
        models: The models that they train.

    Raises:
        StudyError: One of them will not: the memory of a CPU, or the operations of another make of tower.
    """
    asked = {f"-{cost}": "search.at_most" for cost in search.at_most}
    asked |= dict.fromkeys(search.metrics[1:], "search.metric")
    if "-memory" in asked and device == "cpu":
        rule, way_out = "memory is measured on a GPU only", "take tokens or train_seconds, or train on a GPU"
        raise StudyError(rule, where=asked["-memory"], value="memory", way_out=way_out)
    if "-flops" in asked:
        from pgsbench.models.pair_cost import sizes_for  # it builds a model; most searches need none

        untold = [model.name for model in models if sizes_for(model).cost is None]
        if untold:
            rule = f"the operations of {untold[0]} cannot be told: a tower is not open_clip's own"
            way_out = "take tokens or train_seconds, or another model"
            raise StudyError(rule, where=asked["-flops"], value="flops", way_out=way_out)


def objectives_of(search: SearchConfig) -> list[Objective]:
    """Return what a search optimises; the score comes first."""
    score, *costs = search.metrics
    return [Objective(score), *(Objective(cost.removeprefix("-"), is_cost=True) for cost in costs)]


def check_baselines(
    baselines: Sequence[str], candidate: str | None = None, arms: Sequence[str] = ("flip",)
) -> None:
    """Check that there is something to compare.

    Args:
        baselines: Arms or strategies.
        candidate: What they are compared with.
        arms: Arms that could be named, for the way out.

    Raises:
        ConfigError: Baselines are one text, or none, or one is there twice, or is the candidate.
    """
    named = baselines if isinstance(baselines, str) else [arm_name(name) for name in baselines]
    way_out = f"--baselines {','.join(arm for arm in arms if arm != candidate) or 'flip'}"
    if isinstance(named, str) or not named or len(set(named)) < len(named):
        # Twice, one would count as two comparisons: Holm's correction would be too strict.
        rule = "a comparison needs a baseline, or a list of them, each once"
        raise ConfigError(rule, where="baselines", value=baselines or None, way_out=way_out)
    if candidate is not None and arm_name(candidate) in named:
        rule = "an arm cannot be compared with itself"
        raise ConfigError(rule, where="baselines", value=candidate, way_out=way_out)
