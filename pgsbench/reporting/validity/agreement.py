"""How well two worlds agree on the order of their arms, and on which pairs they do not.

An interval says how far a number would move with other test items and other seeds, the arms being these:
`World.draws` draws their means anew, from what items and seeds are known to do in each study. The draws
scatter about means that are uncertain themselves, so a drawn correlation leans towards zero. The interval
joins that of the draws with its mirror image at the estimate; docs/validity.md says how often it covers.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import scipy.stats

from pgsbench.reporting.statistics.comparison import ALPHA
from pgsbench.reporting.statistics.intervals import LEVEL, Interval, holm
from pgsbench.reporting.statistics.paired_values import Floats
from pgsbench.reporting.validity.world import World

DRAWS = 2_000
#: Random orders that the agreement by chance is taken from.
SHUFFLES = 20_000


class Coefficient(NamedTuple):
    """A correlation with its interval; NaN where it is undefined, as all arms of a world are equal."""

    estimate: float
    low: float
    high: float


def number(value: float) -> str:
    """Return a correlation as text."""
    return "undefined" if math.isnan(value) else f"{value:.2f}".replace("-", "−")


def ends(one: Coefficient) -> str:
    """Return the interval of a correlation as text."""
    return "no interval" if math.isnan(one.low) else f"{number(one.low)} to {number(one.high)}"


@dataclass(frozen=True)
class Agreement:
    """How well a world orders the arms as the reference does.

    Attributes:
        spearman: Correlation of the ranks.
        kendall: Kendall's tau-b: pairs in the same order minus pairs in the other, as a share.
        pearson: Correlation of the scores, and so of the differences to whichever arm.
        by_chance: Share of random orders whose Spearman is at least as high.
        repeat: Median Spearman of the reference with its own repetition, by other items and seeds.
        other_arms: Ends of the 95 % interval of Spearman if the arms themselves are drawn anew, too.
    """

    spearman: Coefficient
    kendall: Coefficient
    pearson: Coefficient
    by_chance: float
    repeat: float
    other_arms: tuple[float, float]


def agreement(reference: World, world: World, *, seed: int = 0) -> Agreement:
    """Correlate the arms of two worlds.

    Args:
        reference: The world that is believed.
        world: Another one with the same arms.
        seed: Of the draws.
    """
    rng, arms = np.random.default_rng(seed), reference.arms
    ours, theirs = (one.draws(DRAWS, rng)[arms].to_numpy(dtype=np.float64) for one in (reference, world))
    measured = _row(reference, arms), _row(world, arms)

    def coefficient(name: str) -> Coefficient:
        correlate = CORRELATIONS[name]
        drawn = correlate(ours, theirs)
        ends = (1 - LEVEL) / 2, (1 + LEVEL) / 2
        low, high = np.nanquantile(drawn, ends) if np.isfinite(drawn).any() else (np.nan, np.nan)
        estimate = float(correlate(*measured)[0])
        reflected = 2 * estimate - high, 2 * estimate - low
        return Coefficient(
            estimate,
            float(np.clip(np.minimum(low, reflected[0]), -1, 1)),
            float(np.clip(np.maximum(high, reflected[1]), -1, 1)),
        )

    spearman = coefficient("spearman")
    orders = rng.permuted(np.tile(measured[1], (SHUFFLES, 1)), axis=1)
    lucky = _spearman(measured[0], orders) >= spearman.estimate - 1e-9
    again = _spearman(measured[0], ours)
    return Agreement(
        spearman,
        coefficient("kendall"),
        coefficient("pearson"),
        float((1 + lucky.sum()) / (1 + SHUFFLES)) if np.isfinite(spearman.estimate) else float("nan"),
        float(np.nanmedian(again)) if np.isfinite(again).any() else float("nan"),
        _of_other_arms(ours, theirs, rng),
    )


def _of_other_arms(ours: Floats, theirs: Floats, rng: np.random.Generator) -> tuple[float, float]:
    """Return the ends of Spearman over draws that have other items, seeds and, with repetition, arms."""
    chosen = rng.integers(ours.shape[1], size=ours.shape)
    found = _spearman(*(np.take_along_axis(rows, chosen, axis=1) for rows in (ours, theirs)))
    if not np.isfinite(found).any():
        return float("nan"), float("nan")
    low, high = np.nanquantile(found, ((1 - LEVEL) / 2, (1 + LEVEL) / 2))
    return float(low), float(high)


def _row(world: World, arms: list[str]) -> Floats:
    """Return the (1, a) scores of some arms, in this order."""
    return np.array([world.scores[arms]], np.float64)


def _pearson(ours: Floats, theirs: Floats) -> Floats:
    """Correlate the rows of (b, a) with those of (b, a), or of (1, a)."""
    x, y = (rows - rows.mean(axis=1, keepdims=True) for rows in (ours, theirs))
    spread = np.sqrt(np.square(x).sum(axis=1) * np.square(y).sum(axis=1))
    with np.errstate(invalid="ignore"):
        return np.asarray(np.where(spread > 0, (x * y).sum(axis=1) / spread, np.nan))


def _spearman(ours: Floats, theirs: Floats) -> Floats:
    return _pearson(*(scipy.stats.rankdata(rows, axis=1) for rows in (ours, theirs)))


def _kendall(ours: Floats, theirs: Floats) -> Floats:
    first, second = np.triu_indices(ours.shape[1], 1)
    x, y = (np.sign(rows[:, first] - rows[:, second]) for rows in (ours, theirs))
    untied = np.sqrt(np.abs(x).sum(axis=1) * np.abs(y).sum(axis=1))
    with np.errstate(invalid="ignore"):
        return np.asarray(np.where(untied > 0, (x * y).sum(axis=1) / untied, np.nan))


CORRELATIONS = {"spearman": _spearman, "kendall": _kendall, "pearson": _pearson}


@dataclass(frozen=True)
class Pair:
    """Two arms in both worlds.

    Attributes:
        ours: The arm that is better in the reference.
        theirs: The other one.
        reference: Their difference in the reference.
        world: The same difference in the world.
        significant: Whether it is significant in the reference, and in the world.
    """

    ours: str
    theirs: str
    reference: Interval
    world: Interval
    significant: tuple[bool, bool]

    @property
    def is_reversed(self) -> bool:
        """Whether the two worlds order the arms otherwise."""
        return self.reference.estimate * self.world.estimate < 0


def pairs(reference: World, world: World) -> list[Pair]:
    """Return all pairs of arms; those that are reversed come first, and of them the significant ones.

    Significance is Holm's, among all pairs of a world.
    """
    arms = list(itertools.combinations(reference.arms, 2))
    sides = [[one.difference(*pair) for pair in arms] for one in (reference, world)]
    flags = [[p < ALPHA for p in holm([one.p_value for one in side])] for side in sides]
    found = []
    for (first, second), ours, theirs, *significant in zip(arms, *sides, *flags, strict=True):
        better = ours.estimate >= 0
        found.append(
            Pair(
                first if better else second,
                second if better else first,
                ours if better else _reversed(ours),
                theirs if better else _reversed(theirs),
                (significant[0], significant[1]),
            )
        )
    return sorted(
        found,
        key=lambda pair: (not pair.is_reversed, -sum(pair.significant), pair.world.estimate),
    )


def _reversed(one: Interval) -> Interval:
    return Interval(**{**vars(one), "estimate": -one.estimate, "low": -one.high, "high": -one.low})
