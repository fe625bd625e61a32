"""All comparisons of a study: every output takes verdicts, intervals and p-values from here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import lru_cache

import pandas as pd

from pgsbench.records.study_record import DecisionPlan, Margin
from pgsbench.reporting.decision.decide import decide
from pgsbench.reporting.results import Results
from pgsbench.reporting.statistics.comparison import ALPHA, SAME, Comparison, Family
from pgsbench.reporting.statistics.intervals import Interval, holm


def plan_of(results: Results) -> DecisionPlan | None:
    """Return the plan by which a study was looked at, if all that it plans is compared here."""
    plan = results.study.record.decision
    if plan is None or results.candidate != plan.candidate:
        return None
    return plan if set(plan.baselines) <= set(results.baselines) else None


def is_planned(results: Results, baseline: str) -> bool:
    """Whether the comparison with a label is one that the study plans to decide."""
    plan = plan_of(results)
    return plan is not None and results.study.arm_of[baseline] in plan.baselines


def margin_of(results: Results) -> Margin:
    """Return the margin of a study's verdicts: that of its plan to decide, else its own."""
    plan = plan_of(results)
    return plan.margin if plan else Margin.of(results.study.record.config.margin)


@lru_cache(maxsize=4)  # a page asks a dozen times, and forecasts take their time
def decisions(results: Results) -> list[Comparison]:
    """Return the verdict on each pair of a study, on its headline: the mean of groups, or its one group.

    What a study plans to decide (``compare --until decided``) is looked at as planned, and is a family of
    its own, as it was chosen before any look. All else is looked at once, with the seeds that there are.
    """
    plan, headline = plan_of(results), results.headline
    if not headline:
        return []
    pairs = [(ours, theirs, results.pair_up([ours, theirs], headline)) for ours, theirs in results.pairs]
    margin = margin_of(results)
    found = []
    for is_of_plan in (True, False):
        family = [pair for pair in pairs if is_planned(results, pair[1]) == is_of_plan]
        found += decide(family, plan if is_of_plan else None, margin, headline)
    return sorted(found, key=lambda one: results.pairs.index((one.candidate, one.baseline)))


@lru_cache(maxsize=4)
def group_comparisons(results: Results) -> list[Comparison]:
    """Return every pair on every group: the first as it was decided, the others a family of their own."""
    decided = decisions(results)
    others = {of: tasks for of, tasks in results.groups.items() if of != results.headline}
    found = {
        (one.candidate, one.baseline, one.of): one for one in [*decided, *_compare(results, others, "groups")]
    }
    return [found[*pair, of] for pair in results.pairs for of in results.groups]


@lru_cache(maxsize=4)
def task_comparisons(results: Results) -> list[Comparison]:
    """Return every pair on every single task: exploratory, a family of their own."""
    return _compare(results, results.tasks, "tasks")


def comparisons_frame(results: Results) -> pd.DataFrame:
    """Return all comparisons as numbers, one row each."""
    rows = []
    for one in [*group_comparisons(results), *task_comparisons(results)]:
        row = {"family": one.family, "of": one.of, "candidate": one.candidate, "baseline": one.baseline}
        row |= vars(one.interval) if isinstance(one.interval, Interval) else {}
        rows.append({**row, "p_value_holm": one.adjusted_p, "verdict": one.verdict})
    return pd.DataFrame(rows)


def _compare(results: Results, scopes: Mapping[str, Mapping[str, float]], family: Family) -> list[Comparison]:
    found = [
        Comparison(ours, theirs, of, results.difference(ours, theirs, of), family=family)
        for ours, theirs in results.pairs
        for of in scopes
    ]
    p = [one.interval.p_value if isinstance(one.interval, Interval) else float("nan") for one in found]
    return [_judged(one, adjusted) for one, adjusted in zip(found, holm(p), strict=True)]


def _judged(one: Comparison, adjusted_p: float) -> Comparison:
    if not isinstance(one.interval, Interval):
        return one
    if adjusted_p != adjusted_p:  # NaN: there was nothing to test
        return replace(one, outcome=SAME)
    if adjusted_p >= ALPHA:
        return replace(one, outcome="undecided", adjusted_p=adjusted_p)
    outcome = "better" if one.interval.estimate > 0 else "worse"
    return replace(one, outcome=outcome, adjusted_p=adjusted_p)
