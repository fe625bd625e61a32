"""Intervals and tests that account for test items and for training seeds.

A difference between two arms is uncertain for two reasons: other test items, and other seeds, would have
given another number. Both arms see the same items and the same seeds, so the design is crossed, and

    Var(estimate) = items / i + seeds / s + items x seeds / (i s).

The three parts are estimated from the analysis-of-variance table (as Owen's pigeonhole model, 2007, has
them), the seed part from the arm-by-seed interaction of all arms in the paired, and the interval is a t
interval with Satterthwaite's degrees of freedom. docs/statistics.md says how often it covers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import stats

from pgsbench.reporting.statistics.paired_values import PairedValues, lead
from pgsbench.reporting.statistics.variance import Variance, seeds_of_one_arm, variance_of

LEVEL = 0.95


@dataclass(frozen=True)
class Interval:
    """An estimate with its 95 % interval.

    Attributes:
        estimate: The mean, or the difference of means.
        low: Lower end of the interval.
        high: Upper end of the interval.
        p_value: Two-sided p-value of "the true value is 0" (of use for differences only).
        num_seeds: Seeds behind it; with one, the interval covers test items only.
        num_items: Distinct test items behind it.
        df: Degrees of freedom of the t interval.
    """

    estimate: float
    low: float
    high: float
    p_value: float
    num_seeds: int
    num_items: int
    df: float


def mean_interval(paired: PairedValues, arm: str) -> Interval:
    """Return the interval of an arm's mean over seeds and items, cut to [0, 1]."""
    found = contrast(paired, {arm: 1.0})
    return Interval(**{**vars(found), "low": max(0.0, found.low), "high": min(1.0, found.high)})


def difference(paired: PairedValues, candidate: str, baseline: str) -> Interval:
    """Return candidate minus baseline, paired by seed and test item.

    Of two copies of one training it is 0, and not tested: its p-value is NaN.
    """
    weights = lead(candidate, baseline)
    if paired.is_one_training(candidate, baseline):
        return Interval(0.0, 0.0, 0.0, float("nan"), len(paired.seeds), paired.num_items, float("nan"))
    return contrast(paired, weights)


def contrast(paired: PairedValues, weights: Mapping[str, float]) -> Interval:
    """Return the interval and p-value of a weighted sum of arms' means.

    Args:
        paired: The aligned arms.
        weights: arm -> weight, for example ``{"pgs": 1, "flip": -1}``.
    """
    estimate, found = paired.estimate(weights), variance(paired, weights)
    error, df = float(np.sqrt(found.total)), float(found.df)
    reach = float(stats.t.ppf((1 + LEVEL) / 2, df)) * error
    p_value = float(2 * stats.t.sf(abs(estimate) / error, df))
    return Interval(
        estimate, estimate - reach, estimate + reach, p_value, len(paired.seeds), paired.num_items, df
    )


def variance(paired: PairedValues, weights: Mapping[str, float]) -> Variance:
    """Return the variance of a contrast, given as arm -> weight."""
    means, influence, w = paired.arrays(weights)
    return variance_of(means, influence, paired.floor, w, paired.borrowed)


def mean_draws(
    paired: PairedValues, arms: Sequence[str], count: int, rng: np.random.Generator
) -> pd.DataFrame:
    """Draw means of some arms as other test items and other seeds would give them: draw x arm.

    All arms see the same drawn items. Seeds move each arm on its own, by the variance that `contrast` takes
    them to have, drawn by its degrees of freedom; what they do to all arms alike makes no difference between
    arms and is left out.

    Args:
        paired: The aligned arms.
        arms: Those that are wanted.
        count: Number of draws.
        rng: Source of the draws.
    """
    names = list(dict.fromkeys(paired.training_of(arm) for arm in arms))
    by_item = np.array([paired.influence[arm].mean(axis=0) for arm in names])
    covariance = by_item @ by_item.T + np.eye(len(names)) * paired.floor / 2
    drawn = rng.multivariate_normal(paired.scores(names), covariance, size=count, method="eigh")
    if len(paired.seeds) > 1 and paired.num_trainings > 1:
        seeds, noise, df = seeds_of_one_arm(*paired.arrays({})[:2], paired.borrowed)
        # What seeds add is not known to be zero where it is seen as zero: it is drawn, too.
        square = np.maximum(seeds, noise) * df / rng.chisquare(float(df), size=(count, 1))
        scale = np.sqrt(np.maximum(0.0, square - noise) / len(paired.seeds))
        drawn = drawn + scale * rng.standard_normal((count, len(names)))
    of_training = pd.DataFrame(drawn, columns=names)
    return pd.DataFrame({arm: of_training[paired.training_of(arm)] for arm in arms})


def holm(p_values: Sequence[float]) -> list[float]:
    """Return Holm's adjusted p-values; NaN (not tested) stays NaN and does not count.

    Rejecting where the adjusted value is below 0.05 keeps the chance of any false claim in the family
    below 5 %, whatever the dependence between the tests.
    """
    tested = pd.Series(p_values, dtype=float).dropna().sort_values(kind="stable")
    adjusted = (tested * np.arange(len(tested), 0, -1)).cummax().clip(upper=1.0)
    return adjusted.reindex(range(len(p_values))).tolist()
