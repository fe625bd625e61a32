"""The verdict on each compared pair: better, worse, equivalent within a margin, or undecided."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Literal, NamedTuple

import numpy as np
from scipy import stats

from pgsbench.records.margin import Margin
from pgsbench.records.study_record import DecisionPlan
from pgsbench.reporting.decision.forecast import Forecast, Levels
from pgsbench.reporting.decision.looks import shares
from pgsbench.reporting.results import Results
from pgsbench.reporting.statistics.comparison import ALPHA, ONE_RUN, SAME, Missing
from pgsbench.reporting.statistics.equal_spread import alone_p, equal_spread_p
from pgsbench.reporting.statistics.intervals import Interval, difference, holm, variance
from pgsbench.reporting.statistics.paired_values import Floats, PairedValues, lead

Outcome = Literal["better", "worse", "equivalent", "undecided", "the same training", "missing"]

#: Differences below so many points do not matter, where nobody has said another margin.
MARGIN_POINTS = 1.0


@dataclass(frozen=True)
class Decision:
    """The verdict on one pair.

    Attributes:
        candidate: Label of the candidate.
        baseline: Label of the baseline.
        of: The group it is about.
        outcome: The verdict.
        interval: The difference; its interval holds under all looks so far. Or why there is none.
        margin: Smaller differences do not matter; NaN where it is relative to a mean that is missing.
        seeds_needed: Seeds after which it would probably be decided; None: decided, not known, or too many.
        items_needed: Test items that it would take with these seeds; likewise.
        adjusted_p: Holm's p-value of "the true difference is 0" in its family; NaN where nothing is tested.
        note: What the verdict rests on that may not hold, in words: that arms vary alike with the seed.
    """

    candidate: str
    baseline: str
    of: str
    outcome: Outcome
    interval: Interval | Missing
    margin: float
    seeds_needed: int | None = None
    items_needed: int | None = None
    adjusted_p: float = float("nan")
    note: str = ""

    @property
    def is_decided(self) -> bool:
        """Whether more seeds are of no use."""
        return self.outcome in ("better", "worse", "equivalent", SAME)

    @property
    def num_seeds(self) -> int:
        """Seeds behind it; 0 where it is missing."""
        return self.interval.num_seeds if isinstance(self.interval, Interval) else 0

    @property
    def verdict(self) -> str:
        """The outcome, with what limits it first: one seed."""
        return (f"{ONE_RUN}: " if self.num_seeds == 1 else "") + self.outcome


class Tests(NamedTuple):
    """P-values of one pair, (..., looks) or already the smallest over looks.

    Attributes:
        differs: Of "the true difference is 0", two-sided.
        is_far: Of "the true difference is the margin or more", the larger of two one-sided tests.
    """

    differs: Floats
    is_far: Floats


def one_look(estimate: Floats, error: Floats, df: Floats, margin: float) -> Tests:
    """Return the tests of one look at differences; all arrays have one shape."""
    return Tests(
        2 * stats.t.sf(np.abs(estimate) / error, df),
        stats.t.sf((margin - np.abs(estimate)) / error, df),
    )


def outcomes(estimates: Sequence[float], differs: Sequence[float], is_far: Sequence[float]) -> list[Outcome]:
    """Return the verdict on each pair of a family, by Holm's correction of either kind of test.

    Args:
        estimates: The differences.
        differs: P-values that hold under all looks, see `Tests`; NaN where a pair cannot be tested.
        is_far: Likewise.
    """
    found: list[Outcome] = []
    for estimate, differ, far in zip(estimates, holm(differs), holm(is_far), strict=True):
        if np.isnan(differ):
            found.append("missing")
        elif differ < ALPHA:
            found.append("better" if estimate > 0 else "worse")
        else:
            found.append("equivalent" if far < ALPHA else "undecided")
    return found


@lru_cache(maxsize=4)  # a page asks a dozen times, and forecasts take their time
def decisions(results: Results) -> list[Decision]:
    """Return the verdict on each pair of a study, on its headline: the mean of groups, or its one group.

    What a study plans to decide (``compare --until decided``) is looked at as planned, and is a family of
    its own, as it was chosen before any look. All else is looked at once, with the seeds that there are.
    """
    plan, headline = plan_of(results), next(iter(results.groups), "")
    if not headline:
        return []
    pairs = [(ours, theirs, results.pair_up([ours, theirs], headline)) for ours, theirs in results.pairs]
    margin = plan.margin if plan else Margin.of(MARGIN_POINTS)
    as_planned = [pair for pair in pairs if is_planned(results, pair[1])]
    once = [pair for pair in pairs if not is_planned(results, pair[1])]
    found = [*decide(as_planned, plan, margin, headline), *decide(once, None, margin, headline)]
    return sorted(found, key=lambda one: results.pairs.index((one.candidate, one.baseline)))


def decide(
    pairs: Sequence[tuple[str, str, PairedValues | Missing]],
    plan: DecisionPlan | None,
    margin: Margin,
    of: str = "",
) -> list[Decision]:
    """Return the verdict on each pair of a family.

    Args:
        pairs: Candidate, baseline, and what was measured of both; or why that does not pair up.
        plan: How they are looked at; None: once.
        margin: Smaller differences do not matter; a relative one is of each baseline's mean over its seeds.
        of: The group that it is about.
    """
    margins = [margin.beside(_mean(paired, theirs)) for _, theirs, paired in pairs]
    looked = [
        _look(paired, ours, theirs, plan, size)
        for (ours, theirs, paired), size in zip(pairs, margins, strict=True)
    ]
    differs, is_far = ([getattr(one, test, np.nan) for one in looked] for test in Tests._fields)
    said = outcomes([one.interval.estimate if one else np.nan for one in looked], differs, is_far)
    still_open = _num_open(differs), _num_open(is_far)
    found = []
    for (ours, theirs, paired), one, outcome, p, size in zip(
        pairs, looked, said, holm(differs), margins, strict=True
    ):
        if not isinstance(paired, Missing) and paired.is_one_training(ours, theirs):
            found.append(
                Decision(ours, theirs, of, "the same training", difference(paired, ours, theirs), size)
            )
            continue
        if isinstance(paired, Missing) or one is None:
            reason = paired if isinstance(paired, Missing) else Missing("too few seeds for a first look")
            found.append(Decision(ours, theirs, of, "missing", reason, size))
            continue
        decision = Decision(ours, theirs, of, outcome, one.interval, size, adjusted_p=p)
        if decision.is_decided:
            decision = replace(decision, note=_note(decision, one.paired))
        found.append(decision if decision.is_decided else _with_forecast(decision, one, plan, still_open))
    return found


def _mean(paired: PairedValues | Missing, label: str) -> float:
    return np.nan if isinstance(paired, Missing) else float(paired.estimate({label: 1.0}))


def plan_of(results: Results) -> DecisionPlan | None:
    """Return the plan by which a study was looked at, if all that it plans is compared here."""
    plan = results.study.record.decision
    if (
        plan is None
        or results.candidate != plan.candidate
        or not set(plan.baselines) <= set(results.baselines)
    ):
        return None
    return plan


def looks_of(plan: DecisionPlan, max_seeds: int | None = None) -> dict[int, float]:
    """Return number of seeds -> the share of the error rate that a plan's look after them may spend.

    Args:
        plan: The plan.
        max_seeds: As if it had so many; None: its own.
    """
    return shares(
        1 + len(plan.baselines), max_seeds or plan.max_seeds, borrowed_df=plan.borrowed_df, seen=plan.seen
    )


def is_planned(results: Results, baseline: str) -> bool:
    """Whether the comparison with a label is one that the study plans to decide."""
    plan = plan_of(results)
    return plan is not None and results.study.arm_of[baseline] in plan.baselines


class _Looked(NamedTuple):
    interval: Interval
    differs: float
    is_far: float
    paired: PairedValues
    weights: Mapping[str, float]


def _look(
    paired: PairedValues | Missing, ours: str, theirs: str, plan: DecisionPlan | None, margin: float
) -> _Looked | None:
    """Look at a pair as often as planned; None where there is nothing to look at yet."""
    if isinstance(paired, Missing) or paired.is_one_training(ours, theirs):
        return None
    weights = lead(ours, theirs)
    share_of: Mapping[int, float] = {len(paired.seeds): 1.0}
    if plan is not None:
        planned = range(plan.first_seed, plan.first_seed + plan.max_seeds)
        paired = paired.of_seeds([seed for seed in paired.seeds if seed in planned])
        share_of = looks_of(plan)
    looks = {seeds: share for seeds, share in share_of.items() if seeds <= len(paired.seeds)}
    if not looks:
        return None
    smallest = [1.0, 1.0]
    for seeds, share in looks.items():
        seen = paired.of_seeds(paired.seeds[:seeds])
        found = variance(seen, weights)
        estimate, error = seen.estimate(weights), np.sqrt(found.total)
        tests = one_look(np.asarray(estimate), error, found.df, margin)
        smallest = [min(before, float(p) / share) for before, p in zip(smallest, tests, strict=True)]
    reach = float(stats.t.ppf(1 - ALPHA * share / 2, found.df) * error)
    interval = Interval(
        estimate,
        estimate - reach,
        estimate + reach,
        smallest[0],
        seeds,
        paired.num_items,
        float(found.df),
    )
    return _Looked(interval, smallest[0], smallest[1], seen, weights)


def _note(decision: Decision, paired: PairedValues) -> str:
    """Return where a verdict hangs on pooling the spread of seeds over arms, or over studies."""
    if len(paired.arms) == 2 and paired.borrowed is None:
        return ""
    means, _, signs = paired.arrays(lead(decision.candidate, decision.baseline))
    found, unequal = [], float(equal_spread_p(means))
    if unequal < ALPHA:
        found.append(f"arms do not vary alike with the seed (Bartlett's test, p = {unequal:.3f})")
    alone = float(alone_p(means, int(np.argmax(signs)), int(np.argmin(signs))))
    if decision.outcome != "equivalent" and alone >= ALPHA:
        found.append(f"by the seeds of these two arms alone it is undecided (p = {alone:.2f})")
    return "; ".join(found)


def _num_open(p_values: Sequence[float]) -> int:
    return sum(p >= ALPHA for p in holm(p_values))


def _with_forecast(
    decision: Decision, looked: _Looked, plan: DecisionPlan | None, still_open: tuple[int, int]
) -> Decision:
    """Add what would probably decide, at the error rates that later looks have.

    Args:
        decision: The verdict so far.
        looked: What it rests on.
        plan: How the study is looked at.
        still_open: Pairs that either of `Tests` has not told yet. Holm's method leaves each of them at least
            the level that is shared out among them.
    """

    def levels(seeds: int) -> Levels:
        share = 1.0 if plan is None else looks_of(plan, max(seeds, plan.max_seeds)).get(seeds, 0.0)
        return Levels(*(ALPHA * share / max(1, pairs) for pairs in still_open))

    forecast, now = Forecast(looked.paired, looked.weights), looked.interval
    seeds = forecast.seeds_to_decide(now.estimate, decision.margin, levels)
    items = forecast.items_to_decide(now.estimate, decision.margin, levels(now.num_seeds))
    return replace(decision, seeds_needed=seeds, items_needed=items)
