"""Per-item values of several arms, brought together so that seeds and test items pair up.

Letters: a arms, s seeds, i distinct units: test items that were drawn together count as one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from pgsbench.errors import StudyError

Floats = NDArray[np.float64]


class TaskValues(NamedTuple):
    """What one run scored on each item of one task.

    Attributes:
        values: (n,) for example 1.0 where the answer was right and 0.0 where it was wrong.
        items: (n,) what each value belongs to; values of two runs are paired by it.
        units: (n,) what was drawn from the world together with the item, usually its picture; None: every
            item is its own. Equal names are one draw, within a task (five captions of one picture) and
            across tasks (one picture asked for its shape and for its colour).
    """

    values: Floats
    items: NDArray[np.str_]
    units: NDArray[np.str_] | None = None

    @property
    def draws(self) -> NDArray[np.str_]:
        """(n,) the unit of each value."""
        return self.items if self.units is None else self.units


#: One run: task -> its values. One arm: seed -> run. All: arm -> seed -> task -> values.
RunValues = Mapping[str, TaskValues]
ArmValues = Mapping[int, RunValues]


@dataclass(frozen=True)
class Panel:
    """Weighted means over tasks of several arms with the same seeds, and what each item adds to them.

    Attributes:
        arms: Names of the arms.
        seeds: The seeds that all arms have.
        means: (a, s) weighted mean over the tasks of each task's mean over its items.
        influence: (a, s, i) what the unit adds to `means`: its values minus their task's mean, times the
            task's weight over its number of values, summed over all its values in all tasks.
        num_items: Number of distinct units i.
        floor: Variance that is never undercut, so that 30 right answers of 30 are not "100.0 +- 0.0": the
            two pseudo-items of Agresti & Coull (1998) and, for differences, Bonett & Price (2012).
    """

    arms: tuple[str, ...]
    seeds: tuple[int, ...]
    means: Floats
    influence: Floats
    num_items: int
    floor: float

    @classmethod
    def build(
        cls,
        values: Mapping[str, ArmValues],
        tasks: Mapping[str, float],
        arms: Sequence[str],
    ) -> Panel:
        """Align the values of `arms`, and of all other arms that can join them.

        An arm joins if it has every seed and item that `arms` have in common; arms that cannot join only
        lend no help in estimating how much seeds vary.

        Args:
            values: arm -> seed -> task -> values. Runs that lack a task are left out.
            tasks: task -> weight; the weights sum to one.
            arms: The arms that must be there; the first ones of the panel, in this order.

        Raises:
            StudyError: An arm has no complete run, the arms share no seed, or their test items differ.
        """
        complete = {arm: _complete_runs(values.get(arm, {}), tasks) for arm in values}
        for arm in arms:
            if not complete.get(arm):
                raise StudyError("no complete run has all tasks", where=arm, value=sorted(tasks))
        seeds = sorted(set.intersection(*(set(complete[arm]) for arm in arms)))
        if not seeds:
            raise StudyError(
                "the arms share no seed", value=list(arms), way_out="train them with equal seeds"
            )
        layout = _Layout(complete[arms[0]][seeds[0]], tasks)
        rows = {
            arm: [layout.row(complete[arm][seed], f"{arm}, seed {seed}") for seed in seeds] for arm in arms
        }
        for arm in complete:
            if arm not in rows and set(seeds) <= set(complete[arm]):
                try:
                    rows[arm] = [layout.row(complete[arm][seed], arm) for seed in seeds]
                except StudyError:
                    continue
        return cls(
            arms=tuple(rows),
            seeds=tuple(seeds),
            means=np.array([[mean for mean, _ in row] for row in rows.values()]),
            influence=np.array([[share for _, share in row] for row in rows.values()]),
            num_items=layout.num_items,
            floor=layout.floor,
        )

    def weights(self, contrast: Mapping[str, float]) -> Floats:
        """Return the (a,) weights of a contrast given by arm; arms that it does not name weigh nothing."""
        return np.array([contrast.get(arm, 0.0) for arm in self.arms])


class _Layout:
    """The items of every task in one order, and the number of the unit that each belongs to."""

    def __init__(self, reference: RunValues, tasks: Mapping[str, float]) -> None:
        self.tasks = dict(tasks)
        self.items = {task: reference[task].items for task in tasks}
        draws = {task: reference[task].draws for task in tasks}
        distinct, codes = np.unique(np.concatenate(list(draws.values())), return_inverse=True)
        self.num_items = len(distinct)
        self.codes = np.asarray(codes).reshape(-1)
        self.scales, self.floor = [], 0.0
        for task, weight in self.tasks.items():
            n = len(np.unique(draws[task]))
            if n < 2:
                raise StudyError("an interval needs at least two test items", where=task, value=n)
            self.scales.append(weight / len(self.items[task]) * np.sqrt(n / (n - 1)))
            self.floor += weight**2 * 2 / (n + 2) ** 2

    def row(self, run: RunValues, where: str) -> tuple[float, Floats]:
        """Return the weighted mean of one run and (i,) the influence of each unit on it."""
        mean, shares = 0.0, []
        for (task, weight), scale in zip(self.tasks.items(), self.scales, strict=True):
            values = self._in_order(task, run[task], where)
            task_mean = float(values.mean())
            mean += weight * task_mean
            shares.append(scale * (values - task_mean))
        added: Floats = np.zeros(self.num_items)
        np.add.at(added, self.codes, np.concatenate(shares))
        return mean, added

    def _in_order(self, task: str, given: TaskValues, where: str) -> Floats:
        items, values = self.items[task], np.asarray(given.values, dtype=np.float64)
        if len(values) != len(given.items) or not np.isfinite(values).all():
            raise StudyError("per-item values must be finite, one per item", where=f"{where}: {task}")
        if np.array_equal(items, given.items):
            return values
        # Stable sorting pairs the first value of an item with the first, the second with the second.
        ours, theirs = np.argsort(items, kind="stable"), np.argsort(given.items, kind="stable")
        if not np.array_equal(items[ours], given.items[theirs]):
            raise StudyError(
                "the arms were tested on different items",
                where=f"{where}: {task}",
                way_out="evaluate both on the same version of the suite: `pgsbench evaluate RUN`",
            )
        ordered = np.empty_like(values)
        ordered[ours] = values[theirs]
        return ordered


def _complete_runs(arm: ArmValues, tasks: Mapping[str, float]) -> dict[int, RunValues]:
    return {seed: run for seed, run in arm.items() if all(task in run for task in tasks)}
