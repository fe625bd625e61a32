"""All comparisons of a study: every output takes verdicts, intervals and p-values from here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import lru_cache

import pandas as pd

from pgsbench.reporting.decision.decide import Decision, decisions
from pgsbench.reporting.results import Results
from pgsbench.reporting.statistics.comparison import Comparison, Family
from pgsbench.reporting.statistics.intervals import Interval, holm


@lru_cache(maxsize=4)  # a page asks a dozen times
def group_comparisons(results: Results) -> list[Comparison]:
    """Return every pair on every group: the first as it was decided, the others a family of their own."""
    decided = {(one.candidate, one.baseline, one.of): one for one in decisions(results)}
    headline = {of for _, _, of in decided}
    others = {of: tasks for of, tasks in results.groups.items() if of not in headline}
    found = {(one.candidate, one.baseline, one.of): one for one in _compare(results, others, "groups")}
    found |= {key: _as_decided(one) for key, one in decided.items()}
    return [found[ours, theirs, of] for ours, theirs in results.pairs for of in results.groups]


@lru_cache(maxsize=4)
def task_comparisons(results: Results) -> list[Comparison]:
    """Return every pair on every single task: exploratory, a family of their own."""
    return _compare(results, results.tasks, "tasks")


def comparisons_frame(results: Results) -> pd.DataFrame:
    """Return all comparisons as numbers, one row each."""
    rows = []
    for one in [*group_comparisons(results), *task_comparisons(results)]:
        row = {"family": one.family, "of": one.of, "candidate": one.candidate, "baseline": one.baseline}
        if isinstance(one.interval, Interval):
            row |= vars(one.interval)
        rows.append({**row, "p_value_holm": one.adjusted_p, "verdict": one.verdict})
    return pd.DataFrame(rows)


def _as_decided(one: Decision) -> Comparison:
    return Comparison(
        one.candidate, one.baseline, one.of, one.interval, one.adjusted_p, "headline", decided=one.outcome
    )


def _compare(results: Results, scopes: Mapping[str, Mapping[str, float]], family: Family) -> list[Comparison]:
    found = [
        Comparison(ours, theirs, of, results.difference(ours, theirs, of), family=family)
        for ours, theirs in results.pairs
        for of in scopes
    ]
    p = [one.interval.p_value if isinstance(one.interval, Interval) else float("nan") for one in found]
    return [replace(one, adjusted_p=value) for one, value in zip(found, holm(p), strict=True)]
