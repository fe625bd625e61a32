"""One world beside the reference: the arms of two studies, matched by name."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from pgsbench.config.search import MEAN
from pgsbench.errors import StudyError, nearest
from pgsbench.records.run_spec import short
from pgsbench.reporting.results import Results
from pgsbench.reporting.statistics.comparison import Missing
from pgsbench.reporting.statistics.intervals import Interval, difference
from pgsbench.reporting.validity.agreement import Agreement, Pair, World, agreement, pairs

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
