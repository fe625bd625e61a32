"""How well two worlds agree on the order of their arms, and on which pairs they do not.

An interval says how far a number would move with other test items and other seeds, the arms being these:
`mean_draws` draws their means anew, from what items and seeds are known to do in each study. The draws
scatter about means that are uncertain themselves, so a drawn correlation leans towards zero. The interval
joins that of the draws with its mirror image at the estimate; docs/scenes.md says how often it covers.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
import scipy.stats

from pgsbench.config.search import MEAN
from pgsbench.errors import StudyError, nearest
from pgsbench.records.run_spec import short
from pgsbench.reporting.render import Estimate
from pgsbench.reporting.results import Results
from pgsbench.reporting.statistics.comparison import ALPHA, Missing
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


def number(value: float) -> str:
    """Return a correlation as text."""
    return "undefined" if math.isnan(value) else f"{value:.2f}".replace("-", "−")


def ends(one: Estimate) -> str:
    """Return the interval of a correlation as text."""
    return "no interval" if math.isnan(one.low) else f"{number(one.low)} to {number(one.high)}"


@dataclass(frozen=True)
class Agreement:
    """How well a world orders the arms as the reference does.

    Attributes:
        spearman: Correlation of the ranks, with its interval; NaN where all arms of a world are equal.
        by_chance: Share of random orders whose Spearman is at least as high.
        repeat: Median Spearman of the reference with its own repetition, by other items and seeds.
        other_arms: Ends of the 95 % interval of Spearman if the arms themselves are drawn anew, too.
    """

    spearman: Estimate
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
        return Agreement(Estimate(math.nan, math.nan, math.nan), math.nan, math.nan, (math.nan, math.nan))
    low, high = _middle(_spearman(ours, theirs))
    spearman = Estimate(
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


# ------------------------------------------------------------------------------- the arms of two studies

#: Two arms can only be in the same order or in the other one.
MIN_ARMS = 3


@dataclass(frozen=True)
class Match:
    """One world beside the reference.

    Attributes:
        reference: The reference's arms that the world has, too.
        world: The same arms in the world.
        settings: What the strategies of arms of one name differ in, a line each.
    """

    reference: World
    world: World
    settings: tuple[str, ...] = ()

    @cached_property
    def agreement(self) -> Agreement:
        """How well the world orders the arms as the reference does."""
        return agreement(self.reference, self.world)

    @cached_property
    def pairs(self) -> list[Pair]:
        """All pairs of arms, reversed ones first."""
        return pairs(self.reference, self.world)

    def differences(self, baseline: str) -> dict[str, tuple[Interval, Interval]]:
        """Return each arm minus a baseline in the reference and in the world, in the order of the arms."""
        sides = self.reference.paired, self.world.paired
        return {
            arm: (difference(sides[0], arm, baseline), difference(sides[1], arm, baseline))
            for arm in self.world.arms
            if arm != baseline
        }

    @property
    def num_seeds(self) -> int:
        """Seeds of the one that has fewer."""
        return min(len(self.reference.paired.seeds), len(self.world.paired.seeds))


def signs(ours: Interval, theirs: Interval) -> str:
    """Return ``same`` or ``opposite``, or ``not clear`` where an interval holds 0."""
    if any(one.low <= 0 <= one.high for one in (ours, theirs)):
        return "not clear"
    return "same" if ours.estimate * theirs.estimate > 0 else "opposite"


def set_beside(reference: tuple[Results, str], world: tuple[Results, str], arms: Sequence[str]) -> Match:
    """Set some arms of a study beside those of another.

    Args:
        reference: The study that is believed, and its metric.
        world: Another one, and its metric.
        arms: Labels that both have.

    Raises:
        StudyError: A study has no such metric, or its arms have nothing in common.
    """
    return Match(
        _world(*reference, arms), _world(*world, arms), tuple(_other_settings(reference[0], world[0], arms))
    )


def _world(results: Results, metric: str, arms: Sequence[str]) -> World:
    name, primary = results.study.name, [i for tasks in results.study.groups.values() for i in tasks.items()]
    scopes = {f"{task}/{measured}": task for task, measured in primary} | {of: of for of in results.groups}
    scopes[MEAN] = results.headline
    if metric not in scopes:
        rule, way_out = "the suite has no such score", nearest(metric, scopes)
        raise StudyError(rule, where=name, value=metric, way_out=way_out)
    paired = results.pair_up(list(arms), scopes[metric])
    if isinstance(paired, Missing):
        raise StudyError(f"its arms cannot be paired: {paired.reason}", where=name)
    return World(name, metric, list(arms), paired)


def _other_settings(reference: Results, world: Results, arms: Sequence[str]) -> list[str]:
    """Return what strategies of one name differ in, a line for each arm."""
    lines = []
    for arm in arms:
        ours, theirs = (one.study.of(arm)[0].spec.config.strategy.model_dump() for one in (reference, world))
        changed = [
            f"{key} {short(ours.get(key, 'default'))} against {short(theirs.get(key, 'default'))}"
            for key in dict.fromkeys([*ours, *theirs])
            if ours.get(key) != theirs.get(key)
        ]
        if changed:
            lines.append(f"{arm} ({', '.join(changed)})")
    return lines


def shared_arms(reference: Results, world: Results, wanted: Sequence[str] | None = None) -> list[str]:
    """Return the arms (with a search: labels) that two studies have scores of, in the reference's order.

    Args:
        reference: The study that is believed.
        world: Another one.
        wanted: Only these.

    Raises:
        StudyError: They are fewer than `MIN_ARMS`, or one that is wanted is not among them.
    """
    ours, theirs = (
        [label for label in one.study.labels if one.seeds(label)[0]] for one in (reference, world)
    )
    shared = [label for label in ours if label in theirs]
    names = f"{reference.study.name} and {world.study.name}"
    for label in wanted or ():
        if label not in shared:
            rule, way_out = "not both studies have scores of this arm", nearest(label, shared)
            raise StudyError(rule, where=names, value=label, way_out=way_out)
    shared = [label for label in shared if wanted is None or label in wanted]
    if len(shared) < MIN_ARMS:
        raise StudyError(
            f"the order of arms needs at least {MIN_ARMS} arms of the same name with scores in both studies",
            where=names,
            value=shared,
            way_out=f"they have {', '.join(ours)}; and {', '.join(theirs)}",
        )
    return shared
