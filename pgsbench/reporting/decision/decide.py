"""The verdict on pairs of arms: better, worse, equivalent within a margin, or undecided.

A comparison that is repeated after each new seed, until it says something, errs more often than it says.
So each look has a share of the 5 %, and the shares add up to at most one: whatever the looks have in
common, the chance of a false claim at any of them is then at most 5 % (the union bound). After s of at most
S seeds the share spent is (s / S)^2, the power family of spending functions (Kim & DeMets 1987). It was
chosen by simulation, `research.simulate_decisions`: docs/statistics.md has the table. The p-value of
each look is divided by its share, and the smallest over all looks counts.

Boundaries that count on the looks' dependence (O'Brien & Fleming, Pocock) erred in more than 5 % with two
arms, as t intervals of few seeds have heavy tails. A sequence without a last look found much less.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np
from scipy import stats

from pgsbench.errors import ConfigError
from pgsbench.records.study_record import DecisionPlan, Margin
from pgsbench.reporting.decision.forecast import Forecast, Levels
from pgsbench.reporting.statistics.comparison import ALPHA, SAME, Comparison, Missing
from pgsbench.reporting.statistics.intervals import Interval, difference, holm, variance
from pgsbench.reporting.statistics.paired_values import PairedValues, lead
from pgsbench.reporting.statistics.task_values import Floats
from pgsbench.reporting.statistics.variance import alone_p, equal_spread_p

#: A look needs so many degrees of freedom for how much seeds matter; with fewer, intervals are too narrow.
MIN_SEED_DF = 3

#: Seeds after which no look follows, where nobody has said another number.
DEFAULT_MAX_SEEDS = 8


def shares(num_arms: int, max_seeds: int, *, borrowed_df: float = 0.0, seen: int = 0) -> dict[int, float]:
    """Return number of seeds -> the share of the error rate that the look after them may spend.

    What was seen before there was a plan may have made the plan: what looks at it would have spent is lost.

    Args:
        num_arms: Arms that are compared, the candidate included.
        max_seeds: Seeds after which no look follows.
        borrowed_df: Degrees of freedom that are borrowed from other studies (`SeedSpread`).
        seen: Seeds whose results were there before there was a plan.

    Raises:
        ConfigError: There are fewer seeds than the first look needs.
    """
    first = max(2, seen + 1)
    while (num_arms - 1) * (first - 1) + borrowed_df < MIN_SEED_DF:
        first += 1
    if max_seeds < first:
        before = f", as {seen} were seen before" if seen else ""
        raise ConfigError(
            f"{num_arms} arms are first looked at after {first} seeds{before}",
            where="max-seeds",
            value=max_seeds,
            way_out="allow more seeds, or compare once: `--seeds N` without `--until decided`",
        )
    looks = [seen, *range(first, max_seeds + 1)]
    spent = np.diff([(seeds / max_seeds) ** 2 for seeds in looks])
    return dict(zip(looks[1:], spent.tolist(), strict=True))


def looks_of(plan: DecisionPlan, max_seeds: int | None = None) -> dict[int, float]:
    """Return the `shares` of a plan's looks, as if it had so many seeds; None: its own."""
    num_arms = 1 + len(plan.baselines)
    return shares(num_arms, max_seeds or plan.max_seeds, borrowed_df=plan.borrowed_df, seen=plan.seen)


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


def outcomes(estimates: Sequence[float], differs: Sequence[float], is_far: Sequence[float]) -> list[str]:
    """Return the verdict on each pair of a family, by Holm's correction of either kind of test.

    Args:
        estimates: The differences.
        differs: P-values that hold under all looks, see `Tests`; NaN where a pair cannot be tested.
        is_far: Likewise.
    """
    found: list[str] = []
    for estimate, differ, far in zip(estimates, holm(differs), holm(is_far), strict=True):
        if np.isnan(differ):
            found.append("missing")
        elif differ < ALPHA:
            found.append("better" if estimate > 0 else "worse")
        else:
            found.append("equivalent" if far < ALPHA else "undecided")
    return found


def decide(
    pairs: Sequence[tuple[str, str, PairedValues | Missing]],
    plan: DecisionPlan | None,
    margin: Margin,
    of: str = "",
) -> list[Comparison]:
    """Return the verdict on each pair of a family.

    Args:
        pairs: Candidate, baseline, and what was measured of both; or why that does not pair up.
        plan: How they are looked at; None: once.
        margin: Smaller differences do not matter; a relative one is of each baseline's mean over its seeds.
        of: The group that it is about.
    """
    margins = [
        margin.beside(np.nan if isinstance(paired, Missing) else paired.estimate({theirs: 1.0}))
        for _, theirs, paired in pairs
    ]
    looked = [_look(*pair, plan, size) for pair, size in zip(pairs, margins, strict=True)]
    differs = [one.interval.p_value if one else np.nan for one in looked]
    is_far = [one.is_far if one else np.nan for one in looked]
    said = outcomes([one.interval.estimate if one else np.nan for one in looked], differs, is_far)
    # Holm's method leaves each pair that is not told yet at least the level that is shared out among them.
    still_open = [sum(p >= ALPHA for p in holm(p_values)) for p_values in (differs, is_far)]
    found = []
    for (ours, theirs, paired), size, one, outcome, p in zip(
        pairs, margins, looked, said, holm(differs), strict=True
    ):
        told = Comparison(ours, theirs, of, Missing("too few seeds for a first look"), margin=size)
        if isinstance(paired, Missing):
            told = replace(told, interval=paired)
        elif paired.is_one_training(ours, theirs):
            told = replace(told, interval=difference(paired, ours, theirs), outcome=SAME)
        elif one is not None:
            told = replace(told, interval=one.interval, outcome=outcome, adjusted_p=p)
            told = _noted(told, one) if told.is_decided else _with_forecast(told, one, plan, still_open)
        found.append(told)
    return found


class _Looked(NamedTuple):
    interval: Interval
    is_far: float
    paired: PairedValues


def _look(
    ours: str, theirs: str, paired: PairedValues | Missing, plan: DecisionPlan | None, margin: float
) -> _Looked | None:
    """Look at a pair as often as planned; None where there is nothing to look at yet."""
    if isinstance(paired, Missing) or paired.is_one_training(ours, theirs):
        return None
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
        found = variance(seen, lead(ours, theirs))
        estimate, error = seen.estimate(lead(ours, theirs)), np.sqrt(found.total)
        tests = one_look(np.asarray(estimate), error, found.df, margin)
        smallest = [min(before, float(p) / share) for before, p in zip(smallest, tests, strict=True)]
    reach = float(stats.t.ppf(1 - ALPHA * share / 2, found.df) * error)
    ends = estimate - reach, estimate + reach
    interval = Interval(estimate, *ends, smallest[0], seeds, paired.num_items, float(found.df))
    return _Looked(interval, smallest[1], seen)


def _noted(decision: Comparison, looked: _Looked) -> Comparison:
    """Add where a verdict hangs on pooling the spread of seeds over arms, or over studies."""
    paired, found = looked.paired, []
    if len(paired.arms) == 2 and paired.borrowed is None:
        return decision
    means, _, signs = paired.arrays(lead(decision.candidate, decision.baseline))
    if (unequal := float(equal_spread_p(means))) < ALPHA:
        found.append(f"arms do not vary alike with the seed (Bartlett's test, p = {unequal:.3f})")
    alone = float(alone_p(means, int(np.argmax(signs)), int(np.argmin(signs))))
    if decision.outcome != "equivalent" and alone >= ALPHA:
        found.append(f"by the seeds of these two arms alone it is undecided (p = {alone:.2f})")
    return replace(decision, note="; ".join(found))


def _with_forecast(
    decision: Comparison, looked: _Looked, plan: DecisionPlan | None, still_open: Sequence[int]
) -> Comparison:
    """Add what would probably decide, at the error rates that later looks have.

    Args:
        decision: The verdict so far.
        looked: What it rests on.
        plan: How the study is looked at.
        still_open: Pairs that either of `Tests` has not told yet.
    """

    def levels(seeds: int) -> Levels:
        share = 1.0 if plan is None else looks_of(plan, max(seeds, plan.max_seeds)).get(seeds, 0.0)
        return Levels(*(ALPHA * share / max(1, pairs) for pairs in still_open))

    forecast, now = Forecast(looked.paired, lead(decision.candidate, decision.baseline)), looked.interval
    seeds = forecast.seeds_to_decide(now.estimate, decision.margin, levels)
    return replace(decision, seeds_needed=seeds)
