"""The variance of a contrast of arms, split into test items, seeds, and what neither explains.

Both arms see the same items and the same seeds, so the design is crossed (Owen's pigeonhole model, 2007):

    Var(estimate) = items / i + seeds / s + rest / (i s).

Letters: a arms, s seeds, i units; leading dimensions are repetitions, of which studies have none and
simulations many.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pgsbench.reporting.statistics.paired_values import Floats


@dataclass(frozen=True)
class Variance:
    """The variance of a contrast's mean over seeds; every field has one value for each repetition.

    Attributes:
        items: Estimate of items / i + rest / (i s).
        seeds: Estimate of seeds / s + rest / (i s); 0 with one seed.
        noise: Estimate of rest / (i s); 0 with one seed.
        total: The variance of the contrast.
        df: Its degrees of freedom by Satterthwaite.
        num_seeds: The seeds s behind it.
    """

    items: Floats
    seeds: Floats
    noise: Floats
    total: Floats
    df: Floats
    num_seeds: int

    def with_seeds(self, num_seeds: int, items_ratio: float = 1.0) -> Floats:
        """Return the variance that another number of seeds, and of items, would give.

        Args:
            num_seeds: Seeds.
            items_ratio: Test items, as a multiple of those behind this variance.
        """
        own = np.maximum(0.0, self.items - self.noise) / items_ratio
        moved = np.maximum(0.0, self.seeds - self.noise) + self.noise / items_ratio
        return np.asarray(own + moved * self.num_seeds / num_seeds)


def variance_of(means: Floats, influence: Floats, floor: float, weights: Floats) -> Variance:
    """Return the variance of a weighted sum of arms' means.

    Args:
        means: (..., a, s) mean of each arm and seed.
        influence: (..., a, s, i) what each unit adds to it; see `PairedValues`.
        floor: Variance that is never undercut.
        weights: (a,) weights. Seed effects that all arms share cancel where they sum to zero.
    """
    num_seeds, num_items = influence.shape[-2:]
    items_df = num_items - 1
    by_item = np.einsum("a,...asi->...i", weights, influence) / num_seeds
    items = np.square(by_item).sum(axis=-1) + floor * max(1.0, float(weights @ weights) / 2)
    none = np.zeros_like(items)
    if num_seeds == 1:
        return Variance(items, none, none, items, none + items_df, 1)
    main, interaction, main_df, interaction_df = seed_parts(means[..., None], weights)
    noise_main, noise_interaction, _, _ = seed_parts(influence, weights)
    seeds, noise = main + interaction, noise_main + noise_interaction
    # `items` holds item variance and the item-by-seed noise, `seeds` seed variance and the same noise.
    # Where the seeds vary less than the noise alone explains, nothing is left for them.
    are_seen = seeds > noise
    total = items + np.where(are_seen, seeds - noise, 0.0)
    spread = main**2 / main_df + interaction**2 / interaction_df + (items**2 + noise**2) / items_df
    df = np.where(are_seen, np.maximum(total**2 / spread, main_df), items_df)
    return Variance(items, seeds, noise, total, df, num_seeds)


def seed_parts(table: Floats, weights: Floats) -> tuple[Floats, Floats, int, int]:
    """Split the seed variance of a contrast into what arms share and what is each arm's own.

    Args:
        table: (..., a, s, i) values whose squares are summed over the last axis.
        weights: (a,) weights.

    Returns:
        Both parts of the variance of the contrast's mean over seeds, and their degrees of freedom.
    """
    num_arms, num_seeds, _ = table.shape[-3:]
    centred = table - table.mean(axis=-2, keepdims=True)
    shared = centred.mean(axis=-3, keepdims=True)
    main_df, interaction_df = num_seeds - 1, max(1, (num_arms - 1) * (num_seeds - 1))
    main = num_arms * np.square(shared).sum(axis=(-1, -2, -3)) / main_df
    interaction = np.square(centred - shared).sum(axis=(-1, -2, -3)) / interaction_df
    shared_weight = float(weights.sum()) ** 2 / num_arms
    own_weight = max(0.0, float(weights @ weights) - shared_weight)
    return (
        shared_weight * main / num_seeds,
        own_weight * interaction / num_seeds,
        main_df,
        interaction_df,
    )
