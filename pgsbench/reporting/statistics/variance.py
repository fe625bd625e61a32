"""The variance of a contrast of arms, split into test items, seeds, and what neither explains.

Both arms see the same items and the same seeds, so the design is crossed (Owen's pigeonhole model, 2007):

    Var(estimate) = items / i + seeds / s + rest / (i s).

Few seeds say little of how much they matter. So a study may borrow what others of its recipe say
(`SeedSpread`): a scaled inverse chi-square prior, as limma has it (Smyth 2004) with one variance for all. And
where seeds are seen to add nothing, they are not thought to add nothing: the interval then has their degrees
of freedom, not those of the test items.

Letters: a arms, s seeds, i units; leading dimensions are repetitions, of which studies have none and
simulations many.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from scipy import stats

from pgsbench.reporting.statistics.paired_values import SeedSpread
from pgsbench.reporting.statistics.task_values import Floats


@dataclass(frozen=True)
class Variance:
    """The variance of a contrast's mean over seeds; every field has one value for each repetition.

    Attributes:
        items: Estimate of items / i + rest / (i s).
        seeds: Estimate of seeds / s + rest / (i s), what is borrowed included; 0 with one seed.
        noise: Estimate of rest / (i s); 0 with one seed.
        total: The variance of the contrast.
        df: Its degrees of freedom by Satterthwaite.
        num_seeds: The seeds s behind it.
        borrowed_df: Degrees of freedom that `seeds` has from other studies.
    """

    items: Floats
    seeds: Floats
    noise: Floats
    total: Floats
    df: Floats
    num_seeds: int
    borrowed_df: Floats | float = 0.0

    def with_seeds(self, num_seeds: int) -> Floats:
        """Return the variance that another number of seeds would give."""
        own = np.maximum(0.0, self.items - self.noise)
        moved = np.maximum(0.0, self.seeds - self.noise) + self.noise
        return np.asarray(own + moved * self.num_seeds / num_seeds)


class SeedParts(NamedTuple):
    """The seed variance of a contrast's mean over seeds, in what arms share and what is each arm's own.

    Attributes:
        main: Of what a seed does to all arms alike.
        own: Of what it does to each arm.
        main_df: Degrees of freedom of `main`.
        own_df: Degrees of freedom of `own`.
    """

    main: Floats
    own: Floats
    main_df: int
    own_df: int


def variance_of(
    means: Floats, influence: Floats, floor: float, weights: Floats, borrowed: SeedSpread | None = None
) -> Variance:
    """Return the variance of a weighted sum of arms' means.

    Args:
        means: (..., a, s) mean of each arm and seed.
        influence: (..., a, s, i) what each unit adds to it; see `PairedValues`.
        floor: Variance that is never undercut.
        weights: (a,) weights. Seed effects that all arms share cancel where they sum to zero.
        borrowed: What other studies say of seeds. With one seed it is not used: the interval is then about
            these training runs.
    """
    num_seeds, num_items = influence.shape[-2:]
    items_df = num_items - 1
    by_item = np.einsum("a,...asi->...i", weights, influence) / num_seeds
    items = np.square(by_item).sum(axis=-1) + floor * max(1.0, float(weights @ weights) / 2)
    none = np.zeros_like(items)
    if num_seeds == 1:
        return Variance(items, none, none, items, none + items_df, 1)
    main, own, main_df, own_df = seed_parts(means[..., None], weights)
    noise_main, noise_own, _, _ = seed_parts(influence, weights)
    own, borrowed_df = _moderated(own, noise_own, own_df, own_weight(weights) / num_seeds, borrowed)
    seeds, noise = main + own, noise_main + noise_own
    # `items` holds item variance and the item-by-seed noise, `seeds` seed variance and the same noise.
    are_seen = seeds > noise
    total = items + np.where(are_seen, seeds - noise, 0.0)
    all_df = own_df + borrowed_df
    spread = main**2 / main_df + own**2 / all_df + (items**2 + noise**2) / items_df
    # Where the seeds vary less than the noise alone explains, nothing is left for them. Of few seeds that is
    # no sign that they do not matter: the interval has their degrees of freedom. Where no answer changed with
    # the seed, there is no noise either, and test items are all.
    unseen = noise_main**2 / main_df + noise_own**2 / all_df
    seed_df = np.where(unseen > 0, noise**2 / np.where(unseen > 0, unseen, 1.0), items_df)
    df = np.where(are_seen, np.maximum(total**2 / spread, main_df), np.minimum(seed_df, items_df))
    return Variance(items, seeds, noise, total, df, num_seeds, borrowed_df)


def _moderated(
    own: Floats, noise: Floats, df: int, weight: float, borrowed: SeedSpread | None
) -> tuple[Floats, Floats]:
    """Return the mean square of seeds with what is borrowed, and the degrees of freedom that this adds.

    Args:
        own: The study's own, as part of the variance of a contrast.
        noise: What its test items explain of it.
        df: Degrees of freedom of `own`.
        weight: What a variance of 1 of each arm and seed would be there.
        borrowed: What other studies say.
    """
    if borrowed is None or weight == 0:
        return own, np.zeros_like(own)
    expected = np.asarray(weight * borrowed.variance + noise)
    theirs = np.broadcast_to(weight * (borrowed.variance + borrowed.noise), expected.shape)
    ratio = np.divide(
        np.minimum(expected, theirs), theirs, out=np.ones_like(expected), where=np.asarray(theirs > 0)
    )
    added = borrowed.df * ratio**2
    return (added * expected + df * own) / (added + df), added


def own_weight(weights: Floats) -> float:
    """Return by how much a contrast multiplies the variance that a seed gives to each arm alone."""
    return max(0.0, float(weights @ weights) - float(weights.sum()) ** 2 / len(weights))


def seed_parts(table: Floats, weights: Floats) -> SeedParts:
    """Split the seed variance of a contrast into what arms share and what is each arm's own.

    Args:
        table: (..., a, s, i) values whose squares are summed over the last axis.
        weights: (a,) weights.
    """
    num_arms, num_seeds, _ = table.shape[-3:]
    centred = table - table.mean(axis=-2, keepdims=True)
    shared = centred.mean(axis=-3, keepdims=True)
    main_df, own_df = num_seeds - 1, max(1, (num_arms - 1) * (num_seeds - 1))
    main = num_arms * np.square(shared).sum(axis=(-1, -2, -3)) / main_df
    own = np.square(centred - shared).sum(axis=(-1, -2, -3)) / own_df
    shared_weight = float(weights.sum()) ** 2 / num_arms
    return SeedParts(shared_weight * main / num_seeds, own_weight(weights) * own / num_seeds, main_df, own_df)


def seeds_of_one_arm(
    means: Floats, influence: Floats, borrowed: SeedSpread | None = None
) -> tuple[Floats, Floats, Floats]:
    """Return the mean square of what a seed does to one arm alone, its noise, and its degrees of freedom.

    Args:
        means: (..., a, s) as for `variance_of`; two arms or more, two seeds or more.
        influence: (..., a, s, i) likewise.
        borrowed: Likewise.
    """
    num_arms, num_seeds = means.shape[-2:]
    unit = np.zeros(num_arms)
    unit[:2] = np.sqrt(num_seeds / 2), -np.sqrt(num_seeds / 2)  # a difference of one seed and weight one
    _, own, _, df = seed_parts(means[..., None], unit)
    noise = seed_parts(influence, unit).own
    moderated, added = _moderated(own, noise, df, 1.0, borrowed)
    return moderated, noise, df + added


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
