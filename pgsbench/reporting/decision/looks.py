"""How much of the error rate each look at a growing study may spend.

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

from pgsbench.errors import ConfigError

#: A look needs so many degrees of freedom for how much seeds matter; with fewer, intervals are too narrow.
MIN_SEED_DF = 3

#: Seeds after which no look follows, where nobody has said another number.
DEFAULT_MAX_SEEDS = 8


def first_look(num_arms: int, *, borrowed_df: float = 0.0, seen: int = 0) -> int:
    """Return after how many seeds the first look of a comparison is.

    Args:
        num_arms: Arms that are compared, the candidate included.
        borrowed_df: Degrees of freedom that are borrowed from other studies (`SeedSpread`).
        seen: Seeds whose results were there before there was a plan.
    """
    seeds = max(2, seen + 1)
    while (num_arms - 1) * (seeds - 1) + borrowed_df < MIN_SEED_DF:
        seeds += 1
    return seeds


def shares(num_arms: int, max_seeds: int, *, borrowed_df: float = 0.0, seen: int = 0) -> dict[int, float]:
    """Return number of seeds -> the share of the error rate that the look after them may spend.

    What was seen before there was a plan may have made the plan: what looks at it would have spent is lost.

    Args:
        num_arms: See `first_look`.
        max_seeds: Seeds after which no look follows.
        borrowed_df: See `first_look`.
        seen: See `first_look`.

    Raises:
        ConfigError: There are fewer seeds than the first look needs.
    """
    first = first_look(num_arms, borrowed_df=borrowed_df, seen=seen)
    if max_seeds < first:
        before = f", as {seen} were seen before" if seen else ""
        raise ConfigError(
            f"{num_arms} arms are first looked at after {first} seeds{before}",
            where="max-seeds",
            value=max_seeds,
            way_out="allow more seeds, or compare once: `--seeds N` without `--until decided`",
        )
    spent = {seeds: (seeds / max_seeds) ** 2 for seeds in range(first, max_seeds + 1)}
    lost = (seen / max_seeds) ** 2
    return {seeds: so_far - spent.get(seeds - 1, lost) for seeds, so_far in spent.items()}
