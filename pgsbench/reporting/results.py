"""What a study says: means, differences and shares of the gap, with everything that is missing named."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from functools import cached_property
from typing import TypeVar

import numpy as np

from pgsbench.errors import StudyError, nearest
from pgsbench.records.run_spec import short
from pgsbench.records.verdict_record import ALL_GROUPS
from pgsbench.reporting.recipe_spread import Lenders
from pgsbench.reporting.statistics.comparison import Missing
from pgsbench.reporting.statistics.intervals import (
    Interval,
    difference,
    mean_interval,
)
from pgsbench.reporting.statistics.paired_values import PairedValues, SeedSpread
from pgsbench.reporting.statistics.task_values import one_training, shared_seeds
from pgsbench.reporting.study_frames import Frames, PlannedRun, macro_means
from pgsbench.study.objective import Objective, check_baselines, is_above

Told = TypeVar("Told")

#: More searched points than this are not all compared with a baseline: only the best one is.
MAX_POINTS_COMPARED = 6

#: Arms whose masks are random, the first of them that a study has: `flip` ends with the same unmasked phase
#: as other arms, so it differs from them in nothing but the mask.
RANDOM_ARMS = ("flip", "random")


class Results:
    """The statistics of one study for a candidate and its baselines.

    Args:
        study: The study as read from disk.
        candidate: Arm or label that the study is about; default: that of the
            study's plan to decide, else the arm of its own strategy.
        baselines: Arms or labels it is compared with; default: all other arms, an oracle only where the
            plan has it.

    Raises:
        ConfigError: The baselines are an empty list, one text, or name one twice.
        StudyError: The study has no such arm, or the candidate is among its baselines.
    """

    def __init__(
        self, study: Frames, *, candidate: str | None = None, baselines: Sequence[str] | None = None
    ) -> None:
        self.study = study
        self._paired: dict[tuple[str, frozenset[int]], PairedValues] = {}
        arms, plan, base = study.arms, study.record.decision, study.record.config.base_arm
        if not arms:
            raise StudyError("the study has no runs", where=str(study.folder))
        if plan is not None and candidate is None and baselines is None:
            candidate = plan.candidate
        self.candidate = candidate or (base if base in arms else arms[0])
        if baselines is None:
            planned = plan.baselines if plan is not None and plan.candidate == self.candidate else ()
            own = study.arm_of.get(self.candidate, self.candidate)
            baselines = [arm for arm in arms if arm != own and (arm not in study.oracles or arm in planned)]
        else:
            check_baselines(baselines)
        self.baselines = list(baselines)
        ours = set(self.labels_of(self.candidate))
        for name in (self.candidate, *self.baselines):
            if not self.labels_of(name):
                way_out = nearest(name, [*arms, *study.labels])
                raise StudyError("the study has no such arm", where=study.name, value=name, way_out=way_out)
        for name in self.baselines:
            if not ours.isdisjoint(self.labels_of(name)):  # an arm and one of its points, for example
                rule, way_out = "an arm cannot be compared with itself", "name other arms"
                raise StudyError(rule, where=study.name, value=name, way_out=way_out)

    def labels_of(self, name: str) -> list[str]:
        """Return the labels of an arm (one for each searched point), or the label itself."""
        of_arm = dict.fromkeys(run.label for run in self.study.runs if run.arm == name)
        return list(of_arm) or [label for label in self.study.labels if label == name]

    def params_of(self, label: str) -> dict[str, object]:
        """Return the searched values behind a label; empty for a plain arm."""
        return dict(self.study.of(label)[0].spec.params)

    def chosen(self, label: str, paths: Iterable[str]) -> list[str]:
        """Return the searched values behind a label as text, by path; empty where it has none."""
        params = self.params_of(label)
        return [short(params[path]) if path in params else "" for path in paths]

    @property
    def not_compared(self) -> list[str]:
        """Arms that the study has and that are not compared, as an earlier command trained them."""
        compared = {self.study.arm_of.get(name, name) for name in (self.candidate, *self.baselines)}
        return [arm for arm in self.study.arms if arm not in compared and arm not in self.study.oracles]

    # ------------------------------------------------------------------------------------ what is measured

    @cached_property
    def groups(self) -> dict[str, dict[str, float]]:
        """Group -> task -> weight, the mean of all groups first; see `macro_means`."""
        return macro_means(self.study.groups)

    @property
    def headline(self) -> str:
        """What the verdict is about: the mean of groups, or the one group; empty where nothing is scored."""
        return next(iter(self.groups), "")

    @cached_property
    def tasks(self) -> dict[str, dict[str, float]]:
        """Task -> itself with weight one, in the order of the groups."""
        return {task: {task: 1.0} for tasks in self.study.groups.values() for task in tasks}

    def mean(self, label: str, of: str) -> Interval | Missing:
        """Return a label's mean on a group or task."""
        return self._ask([label], of, mean_interval)

    def chance(self, of: str) -> float:
        """Return what guessing gives on a group or task."""
        by_task = self.study.primary.groupby("task")["chance"].mean()
        return float(sum(weight * by_task[task] for task, weight in self._weights(of).items()))

    def difference(self, ours: str, theirs: str, of: str) -> Interval | Missing:
        """Return the paired difference of two labels on a group or task."""
        return self._ask([ours, theirs], of, difference)

    def seeds(self, label: str) -> tuple[int, int]:
        """Return how many runs of a label have all tasks of the headline, and how many are planned."""
        return len(self._whole(label)), len(self.study.of(label))

    def said_seeds(self, label: str) -> int | str:
        """Return `seeds` for a table: ``"1 of 2"`` where some runs lack scores."""
        done, planned = self.seeds(label)
        return done if done == planned else f"{done} of {planned}"

    def _whole(self, label: str) -> list[PlannedRun]:
        # A run that lacks a task has no part in a mean, so it is none of the seeds behind one.
        tasks = next(iter(self.groups.values()), {})
        seeds = shared_seeds([self.study.values.get(label, {})], tasks)
        return [run for run in self.study.of(label) if run.is_evaluated and run.seed in seeds]

    # ------------------------------------------------------------------------------------- what is compared

    @cached_property
    def pairs(self) -> list[tuple[str, str]]:
        """The (candidate, baseline) labels to compare: those that fit, of many the candidate's best point."""
        pairs = []
        for found in self._fitting:
            if len(found) > MAX_POINTS_COMPARED and not self.is_over_data:
                best = self.best(dict.fromkeys(ours for ours, _ in found))
                found = [pair for pair in found if pair[0] == best]
            pairs += found
        return list(dict.fromkeys(pairs))  # a baseline may be a point of another one

    @property
    def is_over_data(self) -> bool:
        """Whether the study's search is over its data alone: its points are worlds, and none is chosen."""
        search = self.study.record.config.search
        return search is not None and all(path.startswith("data.") for path in search.space)

    @cached_property
    def best_of(self) -> dict[str, str]:
        """Arm -> the label that stands for it in figures: the best point that is compared, or its like."""
        ours = self.best(list(dict.fromkeys(one for one, _ in self.pairs)) or self.labels_of(self.candidate))
        found = {}
        for arm in self.study.arms:
            fitting = [label for label in self.labels_of(arm) if self._fits(ours, label)]
            found[arm] = fitting[0] if len(fitting) == 1 else self.labels_of(arm)[0]
        return found | {self.study.arm_of[ours]: ours}

    @cached_property
    def copies(self) -> list[list[str]]:
        """The labels that are one training, each list one; none where each label is a training of its own."""
        found: dict[str, list[str]] = {}
        for label, training in one_training(self.study.values).items():
            found.setdefault(training, []).append(label)
        return [sorted(labels, key=self.study.labels.index) for labels in found.values() if len(labels) > 1]

    @cached_property
    def objective(self) -> Objective:
        """What the study's search maximises; the mean where nothing is searched."""
        search = self.study.record.config.search
        return Objective(search.metrics[0]) if search else Objective()

    @cached_property
    def scope(self) -> str:
        """What points are ranked by, as far as it has intervals: a group, a task, or else the first group."""
        if self.objective.name in self.groups:
            return self.objective.name
        primary = [item for tasks in self.study.groups.values() for item in tasks.items()]
        task_and_metric = self.objective.task_and_metric
        return task_and_metric[0] if task_and_metric in primary else self.headline

    def objective_value(self, label: str) -> float:
        """Return the objective of a label, its mean over seeds; NaN where it is missing."""
        scored = [run.scores for run in self._whole(label) if run.scores is not None]
        try:
            return float(np.mean([self.objective.value(scores) for scores in scored])) if scored else np.nan
        except StudyError:  # the suite has another metric by now
            return np.nan

    @cached_property
    def too_costly(self) -> frozenset[str]:
        """The searched points above a limit of `search.at_most` in the mean of their runs."""
        search, found = self.study.record.config.search, set[str]()
        if search is None or not search.at_most:
            return frozenset()
        for label in filter(self.params_of, self.study.labels):
            runs = self.study.of(label)
            summaries = [run.summary for run in runs if run.state == "done" and run.summary is not None]
            if is_above(search, summaries, runs[0].spec.numerics.device):
                found.add(label)
        return frozenset(found)

    def best(self, labels: Iterable[str]) -> str:
        """Return the label with the highest objective; one that has none or is too costly comes last."""

        def rank(label: str) -> tuple[bool, float]:
            value = self.objective_value(label)
            return label not in self.too_costly, -np.inf if np.isnan(value) else value

        return max(labels, key=rank)

    def pair_up(self, labels: list[str], of: str) -> PairedValues | Missing:
        """Return the values of labels on a group or task, aligned; or why that cannot be had."""
        if not of:
            return Missing("no scores")
        tasks = self._weights(of)
        if mixed := [task for task in sorted(self._mixed & set(tasks)) if self._is_mixed(task, labels)]:
            return Missing(f"different versions of {', '.join(mixed)}")
        # The seeds that the panel will have: one of fewer would be found again for arms that have more.
        seeds = shared_seeds([self.study.values[label] for label in labels], tasks)
        paired = self._paired.get((of, seeds))
        if paired is None or not set(labels) <= set(paired.arms):
            try:
                paired = PairedValues.build(self.study.values, tasks, labels)
            except StudyError as error:
                return Missing(error.rule + (f" ({error.where})" if error.where else ""))
            paired = replace(paired, borrowed=self.borrowed(of))
            self._paired[of, seeds] = paired
        return paired

    @cached_property
    def _mixed(self) -> frozenset[str]:
        """Tasks of which the study has scores of several versions."""
        versions = self.study.primary.groupby("task")["version"].nunique()
        return frozenset(versions.index[versions > 1])

    def _is_mixed(self, task: str, labels: list[str]) -> bool:
        scores = self.study.primary
        return scores[(scores["task"] == task) & scores["label"].isin(labels)]["version"].nunique() > 1

    def borrowed(self, of: str) -> SeedSpread | None:
        """Return what other studies of the recipe say of seeds on a group or task; None: nothing."""
        return self._lenders.spread(of, self._weights(of))

    def all_borrowed(self) -> dict[str, SeedSpread]:
        """Return `borrowed` of every group and task that borrows."""
        found = {of: self.borrowed(of) for of in (*self.groups, *self.tasks)}
        return {of: spread for of, spread in found.items() if spread is not None}

    # --------------------------------------------------------------------------------------------- inside

    @cached_property
    def _lenders(self) -> Lenders:
        return Lenders(self.study.folder.parent, [run.spec for run in self.study.runs])

    @cached_property
    def _fitting(self) -> list[list[tuple[str, str]]]:
        """Of each baseline the (candidate, baseline) labels with equal searched values, or one has none.

        Of a search over data: two at one point of its space. An earlier search, or none, left others.
        """
        ours = self.labels_of(self.candidate)
        return [
            [(one, other) for one in ours for other in self.labels_of(baseline) if self._meet(one, other)]
            for baseline in self.baselines
        ]

    def _ask(self, labels: list[str], of: str, question: Callable[..., Told]) -> Told | Missing:
        paired = self.pair_up(labels, of)
        return paired if isinstance(paired, Missing) else question(paired, *labels)

    def _weights(self, of: str) -> dict[str, float]:
        return self.groups.get(of) or self.tasks[of]

    def _meet(self, one: str, other: str) -> bool:
        ours, theirs, search = self.params_of(one), self.params_of(other), self.study.record.config.search
        if search is not None and self.is_over_data:  # whoever has no values was trained in another world
            return bool(ours) and ours == theirs and ours.keys() <= search.space.keys()
        return self._fits(one, other)

    def _fits(self, one: str, other: str) -> bool:
        ours, theirs = self.params_of(one), self.params_of(other)
        return not ours or not theirs or ours == theirs


def named(of: str) -> str:
    """Return what a score is of as in a sentence: a group's or task's name, or "the mean of groups"."""
    return f"the {of}" if of == ALL_GROUPS else of
