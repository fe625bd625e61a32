"""How often intervals of few seeds hold the truth, alone and with a borrowed seed spread, by simulation.

``python -m research.simulate_seeds`` prints the tables of docs/statistics.md (minutes).
The variance is that which reports use (`pgsbench.reporting.statistics.variance.variance_of`). Seeds weigh
more than test items, which is the hard case.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from pgsbench.reporting.statistics.equal_spread import alone_p, equal_spread_p
from pgsbench.reporting.statistics.paired_values import Floats
from pgsbench.reporting.statistics.seed_spread import SeedSpread
from pgsbench.reporting.statistics.variance import variance_of
from research.simulate_decisions import CHUNK, ITEM_SD, REST_SD, UNITS, World, draw

#: Standard deviation, in points, of what a seed does to one arm: as photos and scenes have .2 to .7.
SEED_SD = 0.7
BORROWED_DF = 20.0
#: So many times the spread of the others has the restless arm.
RESTLESS = 3.0
ALPHA = 0.05


Flags = NDArray[np.bool_]


class Found(NamedTuple):
    """What came of the difference of the first two arms, one value for each repetition.

    Attributes:
        covered: Whether the interval holds the truth.
        zero: Whether seeds were seen to add nothing, with nothing borrowed.
        width: Half the interval, in points.
        any_claim: Whether any arm "differs" from the first by Holm's method, though all are equal.
        noted: Whether a verdict would carry a note: arms vary unlike, or the two alone leave it undecided.
    """

    covered: Flags
    zero: Flags
    width: Floats
    any_claim: Flags
    noted: Flags


def simulate(
    arms: int,
    seeds: int,
    *,
    repeats: int,
    restless: bool = False,
    borrows: bool = False,
    copy: bool = False,
    rng_seed: int = 0,
) -> Found:
    """Return what intervals say of equally good arms.

    Args:
        arms: Number of arms.
        seeds: Number of seeds.
        repeats: Repetitions, a multiple of `CHUNK`.
        restless: Whether the first arm varies `RESTLESS` times as much as the others.
        borrows: Whether another study lends its estimate, of `BORROWED_DF` degrees of freedom.
        copy: Whether the second arm stands in the panel twice.
        rng_seed: Seed of the simulation: equal ones draw equal answers.
    """
    rng, lent = np.random.default_rng(rng_seed), np.random.default_rng(rng_seed + 1)
    noise = REST_SD**2 / 2
    parts = []
    for _ in range(repeats // CHUNK):
        means, influence = draw(World(arms, SEED_SD, 0.0), rng, seeds=seeds)
        if restless:
            luck = rng.normal(0, SEED_SD * np.sqrt(RESTLESS**2 - 1), (CHUNK, seeds))
            means[:, 0] += luck
        if copy:
            means, influence = (np.concatenate([part, part[:, 1:2]], axis=1) for part in (means, influence))
        square = (SEED_SD**2 + noise) * lent.chisquare(BORROWED_DF, CHUNK) / BORROWED_DF
        spread = SeedSpread(np.maximum(0.0, square - noise), BORROWED_DF, "", noise) if borrows else None
        parts.append(_look(means, influence, spread))
    return Found(*(np.concatenate(part) for part in zip(*parts, strict=True)))


def _look(means: Floats, influence: Floats, spread: SeedSpread | None) -> Found:
    p_values, found = [], []
    for other in range(1, means.shape[1]):
        weights = np.zeros(means.shape[1])
        weights[[0, other]] = 1.0, -1.0
        estimate = (means[:, 0] - means[:, other]).mean(axis=-1)
        one = variance_of(means, influence, 0.0, weights, spread)
        own = one if spread is None else variance_of(means, influence, 0.0, weights)
        error = np.sqrt(one.total)
        p_values.append(2 * stats.t.sf(np.abs(estimate) / error, one.df))
        found.append(
            (p_values[-1] >= ALPHA, own.seeds <= own.noise, stats.t.ppf(1 - ALPHA / 2, one.df) * error)
        )
    claims = np.min(p_values, axis=0) * len(p_values) < ALPHA
    noted = (equal_spread_p(means) < ALPHA) | (alone_p(means, 0, 1) >= ALPHA)
    return Found(*found[0], claims, noted)


def print_equal(repeats: int) -> None:
    """Print the coverage of equal arms, alone and with what is borrowed."""
    print(
        "| arms | seeds | alone | where seeds seem to add nothing | any false claim | borrowed | there | any "
        "| width |"
    )
    print("| ---: | ---: | --- | --- | ---: | --- | --- | ---: | ---: |")
    for arms, seeds in _cases():
        alone, lent = (simulate(arms, seeds, repeats=repeats, borrows=borrows) for borrows in (False, True))
        zero = alone.zero
        print(
            f"| {arms} | {seeds} | {_share(alone.covered)} | {_share(alone.covered[zero])} "
            f"({zero.mean():.0%}) | {alone.any_claim.mean():.1%} | {_share(lent.covered)} "
            f"| {_share(lent.covered[zero])} | {lent.any_claim.mean():.1%} "
            f"| {lent.width.mean() / alone.width.mean():.2f} |",
            flush=True,
        )


def print_restless(repeats: int) -> None:
    """Print the coverage where one arm varies more than the others, and what notes say then."""
    print("| arms | seeds | alone | false verdicts without a note | borrowed | without a note |")
    print("| ---: | ---: | --- | ---: | --- | ---: |")
    for arms, seeds in _cases():
        alone, lent = (
            simulate(arms, seeds, repeats=repeats, restless=True, borrows=borrows)
            for borrows in (False, True)
        )
        unsaid = [float((~one.covered & ~one.noted).mean()) for one in (alone, lent)]
        print(
            f"| {arms} | {seeds} | {_share(alone.covered)} | {unsaid[0]:.1%} "
            f"| {_share(lent.covered)} | {unsaid[1]:.1%} |",
            flush=True,
        )


def print_copies(repeats: int) -> None:
    """Print the coverage where one training stands in the panel twice, and where it is merged to one arm."""
    print("| arms | seeds | twice | merged |")
    print("| ---: | ---: | --- | --- |")
    for arms, seeds in _cases():
        twice, once = (simulate(arms, seeds, repeats=repeats, copy=copy) for copy in (True, False))
        print(f"| {arms} | {seeds} | {_share(twice.covered)} | {_share(once.covered)} |", flush=True)


def _cases() -> Iterator[tuple[int, int]]:
    return ((arms, seeds) for arms in (2, 4, 8, 16) for seeds in (2, 3, 4, 8))


def _share(covered: Flags) -> str:
    """Return a share as the tables have it; of fewer than 30 cases nothing can be said."""
    return f"{covered.mean():.3f}" if len(covered) >= 30 else "-"


TABLES: dict[str, Callable[[int], None]] = {
    "equal": print_equal,
    "restless": print_restless,
    "copies": print_copies,
}

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=2000, help="Repetitions of each case (default: 2000).")
    repeats = parser.parse_args().repeats
    print(
        f"Points: seeds {SEED_SD:g} an arm; a difference by test items {ITEM_SD:g}, by items x seeds "
        f"{REST_SD:g} a seed, {UNITS} units."
    )
    for name, print_table in TABLES.items():
        print(f"\n{name}\n")
        print_table(repeats)
