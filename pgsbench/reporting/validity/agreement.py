"""How well two worlds agree on the order of their arms, and on which pairs they do not.

An interval says how far a number would move with other test items and other seeds, the arms being these:
`mean_draws` draws their means anew, from what items and seeds are known to do in each study. The draws
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
from pgsbench.reporting.statistics.intervals import LEVEL, Interval, difference, holm, mean_draws
from pgsbench.reporting.statistics.paired_values import PairedValues
from pgsbench.reporting.statistics.task_values import Floats

DRAWS = 2_000
#: Random orders that the agreement by chance is taken from.
SHUFFLES = 20_000


class World(NamedTuple):
    """What some arms of a study score.

    Attributes:
        study: Name of the study.
        metric: ``mean``, a group, or ``TASK/METRIC``.
        arms: The arms.
        paired: The values of the test items behind their scores.
    """

    study: str
    metric: str
    arms: list[str]
    paired: PairedValues

    @property
    def scores(self) -> Floats:
        """(1, a) mean of each arm over its seeds."""
        return np.array([self.paired.scores(self.arms)], np.float64)


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
        by_chance: Share of random orders whose Spearman is at least as high.
        repeat: Median Spearman of the reference with its own repetition, by other items and seeds.
        other_arms: Ends of the 95 % interval of Spearman if the arms themselves are drawn anew, too.
    """

    spearman: Coefficient
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
    world = world._replace(arms=arms)
    ours, theirs = (
        mean_draws(one.paired, arms, DRAWS, rng).to_numpy(dtype=np.float64) for one in (reference, world)
    )
    estimate = float(_spearman(reference.scores, world.scores)[0])
    if math.isnan(estimate):
        return Agreement(Coefficient(*[math.nan] * 3), math.nan, math.nan, (math.nan, math.nan))
    low, high = _middle(_spearman(ours, theirs))
    spearman = Coefficient(
        estimate, max(-1.0, min(low, 2 * estimate - high)), min(1.0, max(high, 2 * estimate - low))
    )
    orders = rng.permuted(np.tile(world.scores, (SHUFFLES, 1)), axis=1)
    lucky = _spearman(reference.scores, orders) >= estimate - 1e-9
    again = _spearman(reference.scores, ours)
    chosen = rng.integers(len(arms), size=ours.shape)
    of_others = _spearman(*(np.take_along_axis(rows, chosen, axis=1) for rows in (ours, theirs)))
    by_chance = float((1 + lucky.sum()) / (1 + SHUFFLES))
    return Agreement(spearman, by_chance, float(np.nanmedian(again)), _middle(of_others))


def _middle(draws: Floats) -> tuple[float, float]:
    low, high = np.nanquantile(draws, ((1 - LEVEL) / 2, (1 + LEVEL) / 2))
    return float(low), float(high)


def _spearman(ours: Floats, theirs: Floats) -> Floats:
    """Correlate the ranks in the rows of (b, a) with those of (b, a), or of (1, a)."""
    x, y = (scipy.stats.rankdata(rows, axis=1) for rows in (ours, theirs))
    x, y = (rows - rows.mean(axis=1, keepdims=True) for rows in (x, y))
    spread = np.sqrt(np.square(x).sum(axis=1) * np.square(y).sum(axis=1))
    with np.errstate(invalid="ignore"):
        return np.asarray(np.where(spread > 0, (x * y).sum(axis=1) / spread, np.nan))


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
    score = dict(zip(reference.arms, reference.scores[0], strict=True))
    both = itertools.combinations(reference.arms, 2)
    arms = [(one, other) if score[one] >= score[other] else (other, one) for one, other in both]
    ours, theirs = ([difference(one.paired, *pair) for pair in arms] for one in (reference, world))
    sure = ([p < ALPHA for p in holm([one.p_value for one in side])] for side in (ours, theirs))
    found = [
        Pair(*pair, *told, significant)
        for pair, told, significant in zip(
            arms, zip(ours, theirs, strict=True), zip(*sure, strict=True), strict=True
        )
    ]
    return sorted(found, key=lambda pair: (not pair.is_reversed, -sum(pair.significant), pair.world.estimate))
