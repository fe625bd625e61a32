"""Do arms vary alike with the seed? Pooling takes them to; these tests say where that may mislead."""

from __future__ import annotations

import numpy as np
import pandas as pd
from scipy import stats

from pgsbench.reporting.statistics.paired_values import PairedValues


def equal_spread_p(paired: PairedValues) -> float:
    """Return Bartlett's p-value of "what a seed does to an arm alone is as large in all arms".

    NaN with one seed, with two arms, as one then moves as far as the other whatever they do, and where an arm
    does not move at all. Levene's test knows nothing with two seeds and errs in 39 % with three seeds of 16
    arms; Bartlett's in at most 5 %.
    """
    own = _own(paired)
    if min(own.shape) < 2 or len(own) < 3 or np.ptp(own.to_numpy(), axis=1).min() <= 0:
        return float("nan")
    return float(stats.bartlett(*own.to_numpy()).pvalue)


def alone_p(paired: PairedValues, ours: str, theirs: str) -> float:
    """Return the p-value of a difference over the seeds of its two arms alone: Welch's, by their own spreads.

    With no third arm it is the paired t-test. Test items are taken as they are. NaN with one seed.
    """
    num_arms, num_seeds = paired.means.shape
    arms = [ours, theirs]
    if num_seeds < 2:
        return float("nan")
    if num_arms == 2:
        return float(stats.ttest_rel(*paired.means.loc[arms].to_numpy()).pvalue)
    # What a seed does to all arms is left out; its estimate takes a part of each arm's own along.
    spread = _own(paired).loc[arms].std(axis=1) * np.sqrt(num_arms / (num_arms - 1))
    means = paired.scores(arms)
    both = [part for arm in arms for part in (float(means[arm]), float(spread[arm]), num_seeds)]
    return float(stats.ttest_ind_from_stats(*both, equal_var=False).pvalue)


def _own(paired: PairedValues) -> pd.DataFrame:
    """Return arm x seed: what a seed does to each arm beyond what it does to all."""
    centred = paired.means.sub(paired.means.mean(axis=1), axis="index")
    return centred - centred.mean(axis=0)
