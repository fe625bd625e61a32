"""How much of the error rate each look at a growing study may spend.

A comparison that is repeated after each new seed, until it says something, errs more often than it says.
So each look has a share of the 5 %, and the shares add up to at most one: whatever the looks have in
common, the chance of a false claim at any of them is then at most 5 % (the union bound). After s of at most
S seeds the share spent is (s / S)^2, the power family of spending functions (Kim & DeMets 1987). It was
chosen by simulation, `pgsbench.reporting.decision.simulate`: docs/statistics.md has the table. The p-value of
each look is divided by its share, and the smallest over all looks counts.

Boundaries that count on the looks' dependence (O'Brien & Fleming, Pocock) erred in more than 5 % with two
arms, as t intervals of few seeds have heavy tails. A sequence without a last look found much less.
"""

from __future__ import annotations

from pgsbench.errors import ConfigError

#: A look needs so many degrees of freedom for how much seeds matter; with fewer, intervals are too narrow.
MIN_SEED_DF = 3

#: Seeds after which no look follows, where nobody has said another number.
DEFAULT_MAX_SEEDS = 8


def first_look(num_arms: int) -> int:
    """Return after how many seeds the first look of a comparison of so many arms is."""
    seeds = 2
    while (num_arms - 1) * (seeds - 1) < MIN_SEED_DF:
        seeds += 1
    return seeds


def shares(num_arms: int, max_seeds: int) -> dict[int, float]:
    """Return number of seeds -> the share of the error rate that the look after them may spend.

    Args:
        num_arms: Arms that are compared, the candidate included.
        max_seeds: Seeds after which no look follows.

    Raises:
        ConfigError: There are fewer seeds than the first look needs.
    """
    first = first_look(num_arms)
    if max_seeds < first:
        raise ConfigError(
            f"{num_arms} arms are first looked at after {first} seeds",
            where="max-seeds",
            value=max_seeds,
            way_out="allow more seeds, or compare once: `--seeds N` without `--until decided`",
        )
    spent = {seeds: (seeds / max_seeds) ** 2 for seeds in range(first, max_seeds + 1)}
    return {seeds: so_far - spent.get(seeds - 1, 0.0) for seeds, so_far in spent.items()}


def share_after(seeds: int, num_arms: int, max_seeds: int) -> float:
    """Return the share that a look after so many seeds may spend; 0: there is no look.

    After more than `max_seeds`, it is the last look of a plan that ends there.
    """
    return shares(num_arms, max(seeds, max_seeds)).get(seeds, 0.0)
