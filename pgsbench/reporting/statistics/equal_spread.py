"""Do arms vary alike with the seed? Pooling takes them to; these tests say where that may mislead.

Arrays have the letters of `variance`: a arms, s seeds, leading dimensions are repetitions.
"""

from __future__ import annotations

import numpy as np
from scipy import stats

from pgsbench.reporting.statistics.paired_values import Floats


def equal_spread_p(means: Floats) -> Floats:
    """Return Bartlett's p-value of "what a seed does to an arm alone is as large in all arms".

    NaN with one seed, with two arms, as one then moves as far as the other whatever they do, and where an arm
    does not move at all. Levene's test knows nothing with two seeds and errs in 39 % with three seeds of 16
    arms; Bartlett's in at most 5 %.

    Args:
        means: (..., a, s) mean of each arm and seed.
    """
    own = _own(means)
    if own.shape[-1] < 2 or own.shape[-2] < 3:
        return np.full(own.shape[:-2], np.nan)
    moves = (np.ptp(own, axis=-1) > 0).all(axis=-1)
    own = np.where(moves[..., None, None], own, np.arange(own.shape[-1]))
    return np.asarray(np.where(moves, stats.bartlett(*np.moveaxis(own, -2, 0), axis=-1).pvalue, np.nan))


def alone_p(means: Floats, ours: int, theirs: int) -> Floats:
    """Return the p-value of a difference over the seeds of its two arms alone: Welch's, by their own spreads.

    With no third arm it is the paired t-test. Test items are taken as they are. NaN with one seed.

    Args:
        means: (..., a, s) mean of each arm and seed.
        ours: Number of one of the arms.
        theirs: Of the other.
    """
    num_arms, num_seeds = means.shape[-2:]
    if num_seeds < 2:
        return np.full(means.shape[:-2], np.nan)
    pair = [ours, theirs]
    if num_arms == 2:
        return np.asarray(stats.ttest_rel(*np.moveaxis(means[..., pair, :], -2, 0), axis=-1).pvalue)
    # What a seed does to all arms is left out; its estimate takes a part of each arm's own along.
    spread = _own(means)[..., pair, :].std(axis=-1, ddof=1) * np.sqrt(num_arms / (num_arms - 1))
    scores = means[..., pair, :].mean(axis=-1)
    both = [part for k in (0, 1) for part in (scores[..., k], spread[..., k], num_seeds)]
    return np.asarray(stats.ttest_ind_from_stats(*both, equal_var=False).pvalue)


def _own(means: Floats) -> Floats:
    """Return (..., a, s) what a seed does to each arm beyond what it does to all."""
    centred = means - means.mean(axis=-1, keepdims=True)
    return np.asarray(centred - centred.mean(axis=-2, keepdims=True))
