"""One world beside the reference."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from pgsbench.records.run_spec import short
from pgsbench.reporting.results import Results
from pgsbench.reporting.statistics.intervals import Interval
from pgsbench.reporting.validity.agreement import Agreement, Pair, agreement, pairs
from pgsbench.reporting.validity.world import World


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
        return {
            arm: (self.reference.difference(arm, baseline), self.world.difference(arm, baseline))
            for arm in self.world.arms
            if arm != baseline
        }

    @property
    def num_seeds(self) -> int:
        """Seeds of the one that has fewer."""
        return min(len(self.reference.seeds), len(self.world.seeds))


def signs(ours: Interval, theirs: Interval) -> str:
    """Return ``same`` or ``opposite``, or ``not clear`` where an interval holds 0."""
    if any(one.low <= 0 <= one.high for one in (ours, theirs)):
        return "not clear"
    return "same" if ours.estimate * theirs.estimate > 0 else "opposite"


def other_settings(reference: Results, world: Results, arms: Sequence[str]) -> list[str]:
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
