"""Do arms vary alike with the seed? Pooling takes them to; these tests say where that may mislead."""

from __future__ import annotations

import numpy as np
from scipy import stats

from pgsbench.reporting.statistics.paired_values import Floats, PairedValues


def equal_spread_p(paired: PairedValues) -> float:
    """Return Bartlett's p-value of "what a seed does to an arm alone is as large in all arms".

    NaN with one seed, with two arms, as one then moves as far as the other whatever they do, and where an arm
    does not move at all. Levene's test knows nothing with two seeds and errs in 39 % with three seeds of 16
    arms; Bartlett's in at most 5 %.
    """
    own = _own(paired)
    if min(own.shape) < 2 or len(own) < 3 or np.ptp(own, axis=1).min() <= 0:
        return float("nan")
    return float(stats.bartlett(*own).pvalue)


def alone_p(paired: PairedValues, ours: str, theirs: str) -> float:
    """Return the p-value of a difference over the seeds of its two arms alone: Welch's, by their own spreads.

    With no third arm it is the paired t-test. Test items are taken as they are. NaN with one seed.
    """
    num_arms, num_seeds = paired.means.shape
    rows = [paired.arms.index(arm) for arm in (ours, theirs)]
    if num_seeds < 2:
        return float("nan")
    if num_arms == 2:
        return float(stats.ttest_rel(*paired.means[rows]).pvalue)
    # What a seed does to all arms is left out; its estimate takes a part of each arm's own along.
    spread = _own(paired)[rows].std(axis=1, ddof=1) * np.sqrt(num_arms / (num_arms - 1))
    means = paired.means[rows].mean(axis=1)
    both = [part for mean, sd in zip(means, spread, strict=True) for part in (mean, sd, num_seeds)]
    return float(stats.ttest_ind_from_stats(*both, equal_var=False).pvalue)


def _own(paired: PairedValues) -> Floats:
    """Return (a, s) what a seed does to each arm beyond what it does to all."""
    centred = paired.means - paired.means.mean(axis=1, keepdims=True)
    found: Floats = centred - centred.mean(axis=0)
    return found
