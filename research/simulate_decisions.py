"""How often ``compare --until decided`` errs, and how many seeds it takes, by simulation.

``python -m research.simulate_decisions`` prints the table of docs/statistics.md (some minutes).
The answers are drawn from the crossed design, the true differences are known, and the tests are those that
a study's verdict uses (`pgsbench.reporting.decision.decide`).
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import pandas as pd

from pgsbench.records.study_record import DecisionPlan, Margin
from pgsbench.reporting.decision.decide import (
    DEFAULT_MAX_SEEDS,
    decide,
    one_look,
    outcomes,
    shares,
)
from pgsbench.reporting.statistics.comparison import Comparison
from pgsbench.reporting.statistics.paired_values import PairedValues
from pgsbench.reporting.statistics.task_values import Floats
from pgsbench.reporting.statistics.variance import variance_of

#: How far one standard deviation of the seed moves the score of an arm, in points.
SEED_EFFECTS = {"none": 0.0, "weak": 0.7, "strong": 2.5}
#: Standard deviation of a difference of two arms, in points, by other test items, and by items x seeds in one
#: seed: as about 10,000 test items give.
ITEM_SD, REST_SD = 0.26, 0.53
#: Distinct units that stand for the test items: enough that their own variance is well known.
UNITS = 200
CHUNK = 100
#: Forecasts of more seeds than this are not followed.
MOST_FOLLOWED = 40

#: Points.
MARGIN = 1.0


class World(NamedTuple):
    """What is simulated.

    Attributes:
        arms: Number of arms; the first is compared with all others.
        seed_sd: See `SEED_EFFECTS`.
        difference: True lead of the first arm over each other, in points.
    """

    arms: int
    seed_sd: float
    difference: float


class Found(NamedTuple):
    """What came of it.

    Attributes:
        differs: Share of repetitions with "better" or "worse" for any pair.
        equivalent: Share of repetitions with "equivalent" for any pair.
        better: Share of pairs that were found better.
        undecided: Share of pairs that were not decided.
        seeds: Mean number of seeds until all pairs were decided, or none were left.
    """

    differs: float
    equivalent: float
    better: float
    undecided: float
    seeds: float


class Foreseen(NamedTuple):
    """What came of forecasts.

    Attributes:
        undecided: Share of repetitions that `DEFAULT_MAX_SEEDS` seeds did not decide.
        told: Share of these in which at most `MOST_FOLLOWED` seeds were said to decide.
        seeds: Median of the seeds that were said.
        decided: Share of those told that were decided with as many seeds as they were told.
    """

    undecided: float
    told: float
    seeds: float
    decided: float


def simulate(world: World, *, repeats: int, naive: bool = False, rng_seed: int = 0) -> Found:
    """Return what comes of comparing until it is decided.

    Args:
        world: What is true.
        repeats: Repetitions, a multiple of `CHUNK`.
        naive: Spend 5 % at each look, as whoever adds seeds until something is significant does.
        rng_seed: Seed of the simulation.
    """
    rng = np.random.default_rng(rng_seed)
    runs = [run for _ in range(repeats // CHUNK) for run in _chunk(world, naive, rng)]
    said = [verdicts for verdicts, _ in runs]
    flat = [one for verdicts in said for one in verdicts]
    return Found(
        float(np.mean([any(one in ("better", "worse") for one in verdicts) for verdicts in said])),
        float(np.mean(["equivalent" in verdicts for verdicts in said])),
        flat.count("better") / len(flat),
        flat.count("undecided") / len(flat),
        float(np.mean([seeds for _, seeds in runs])),
    )


def follow_forecasts(world: World, *, repeats: int, rng_seed: int = 0) -> Foreseen:
    """Return what comes of training as many seeds as an undecided comparison says it needs.

    Args:
        world: What is true.
        repeats: Repetitions.
        rng_seed: Seed of the simulation.
    """
    rng, undecided, said, decided = np.random.default_rng(rng_seed), 0, [], []
    for _ in range(repeats):
        means, influence = (part[0] for part in draw(world, rng, repeats=1, seeds=MOST_FOLLOWED))
        open_ = [one for one in _decide(means, influence, DEFAULT_MAX_SEEDS) if not one.is_decided]
        undecided += bool(open_)
        needed = max((one.seeds_needed or MOST_FOLLOWED + 1 for one in open_), default=MOST_FOLLOWED + 1)
        if needed <= MOST_FOLLOWED:
            said.append(needed)
            decided.append(all(one.is_decided for one in _decide(means, influence, needed)))
    seeds, share = (float(np.median(said)), float(np.mean(decided))) if said else (np.nan, np.nan)
    return Foreseen(undecided / repeats, len(said) / max(1, undecided), seeds, share)


def _decide(means: Floats, influence: Floats, max_seeds: int) -> list[Comparison]:
    """Return the verdicts of a study that was looked at up to so many seeds, from (a, s) and (a, s, i)."""
    arms = tuple(f"arm {number}" for number in range(len(means)))
    by_arm = {arm: pd.DataFrame(rows[:max_seeds]) for arm, rows in zip(arms, influence, strict=True)}
    paired = PairedValues(pd.DataFrame(means[:, :max_seeds], arms), by_arm, 0.0)
    plan = DecisionPlan(arms[0], arms[1:], Margin(MARGIN), max_seeds)  # values are points
    return decide([(arms[0], other, paired) for other in arms[1:]], plan, plan.margin)


def _chunk(world: World, naive: bool, rng: np.random.Generator) -> Iterator[tuple[list[str], int]]:
    """Yield the verdicts and the seeds they took of `CHUNK` repetitions."""
    means, influence = draw(world, rng)
    looks = shares(world.arms, DEFAULT_MAX_SEEDS)
    tests = {seeds: _tests(means[..., :seeds], influence[..., :seeds, :], world.arms) for seeds in looks}
    for repetition in range(CHUNK):
        smallest = np.ones((2, world.arms - 1))
        for seeds, share in looks.items():
            estimates, p_values = (part[..., repetition] for part in tests[seeds])
            smallest = p_values if naive else np.minimum(smallest, p_values / share)
            verdicts = outcomes(list(estimates), list(smallest[0]), list(smallest[1]))
            if "undecided" not in verdicts:
                break
        yield verdicts, seeds


def draw(
    world: World, rng: np.random.Generator, *, repeats: int = CHUNK, seeds: int = DEFAULT_MAX_SEEDS
) -> tuple[Floats, Floats]:
    """Draw (r, a, s) means and (r, a, s, i) influences, in points."""
    scale = np.sqrt(UNITS / 2)  # a difference has the variance of two arms, a mean that of `UNITS` units
    shape = (repeats, world.arms, seeds, UNITS)
    values: Floats = rng.normal(0, REST_SD * scale, shape)
    values += rng.normal(0, ITEM_SD * scale, (repeats, world.arms, 1, UNITS))
    values += rng.normal(0, world.seed_sd, (repeats, world.arms, seeds, 1))
    values[:, 0] += world.difference
    means = values.mean(axis=-1)
    influence = (values - means[..., None]) / UNITS * np.sqrt(UNITS / (UNITS - 1))
    return means, influence


def _tests(means: Floats, influence: Floats, arms: int) -> tuple[Floats, Floats]:
    """Return (k, r) differences of the first arm to each other, and the (2, k, r) p-values of their tests."""
    estimates, p_values = [], []
    for other in range(1, arms):
        weights = np.zeros(arms)
        weights[[0, other]] = 1.0, -1.0
        found = variance_of(means, influence, 0.0, weights)
        estimates.append((means[:, 0] - means[:, other]).mean(axis=-1))
        p_values.append(one_look(estimates[-1], np.sqrt(found.total), found.df, MARGIN))
    return np.array(estimates), np.moveaxis(np.array(p_values), 0, 1)


def print_table(repeats: int) -> None:
    """Print the table of docs/statistics.md."""
    print(
        "| arms | seed effect | equal: false claim (naive) | seeds | 1 point apart: false equivalent (naive) "
        "| 3 points apart: better | seeds |"
    )
    print("| ---: | --- | --- | ---: | --- | ---: | ---: |")
    for arms in (2, 5):
        for name, seed_sd in SEED_EFFECTS.items():
            equal, margin, far = (World(arms, seed_sd, difference) for difference in (0.0, MARGIN, 3.0))
            none, at_margin, large = (simulate(world, repeats=repeats) for world in (equal, margin, far))
            errors = (simulate(world, repeats=repeats, naive=True) for world in (equal, margin))
            naive_claim, naive_equal = (next(errors).differs, next(errors).equivalent)
            print(
                f"| {arms} | {name} | {none.differs:.1%} ({naive_claim:.0%}) | {none.seeds:.1f} "
                f"| {at_margin.equivalent:.1%} ({naive_equal:.0%}) | {large.better:.0%} "
                f"| {large.seeds:.1f} |",
                flush=True,
            )


def print_forecasts(repeats: int) -> None:
    """Print what came of forecasts; docs/statistics.md has the range of the last column with two arms.

    Measured with 400 repetitions and two arms, by seed effect and points apart: the share that is undecided
    after 8 seeds; of these the share that is told a number, its median, and how many it then decided.

    - weak, 1.2: 55 %; 18 %, 25, 90 %
    - strong, 3: 65 %; 51 %, 22, 88 %
    - strong, 4: 46 %; 77 %, 21, 99 %

    The rest was told that more seeds alone, or more than `MOST_FOLLOWED`, would not do.
    """
    print("| arms | seed effect | points apart | undecided | told how many | median | then decided |")
    print("| ---: | --- | ---: | ---: | ---: | ---: | ---: |")
    for arms in (2, 5):
        for name, difference in (("weak", 1.2), ("strong", 3.0), ("strong", 4.0)):
            found = follow_forecasts(World(arms, SEED_EFFECTS[name], difference), repeats=repeats)
            came_true = f"{found.seeds:.0f} | {found.decided:.0%}" if found.told else "| "
            print(
                f"| {arms} | {name} | {difference:g} | {found.undecided:.0%} | {found.told:.0%} "
                f"| {came_true} |",
                flush=True,
            )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=2000, help="Repetitions of each case (default: 2000).")
    repeats = parser.parse_args().repeats
    print_table(repeats)
    print()
    print_forecasts(repeats // 5)
