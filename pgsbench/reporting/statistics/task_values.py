"""What runs scored on each test item, and how much each item adds to a mean.

Letters: i distinct units: test items that were drawn together count as one; n values; c classes.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
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
        strata: (n,) class of each item where the metric is a mean over classes; its values are then weighted
            so that their plain mean is the metric. None: the plain mean over items.
    """

    values: Floats
    items: NDArray[np.str_]
    units: NDArray[np.str_] | None = None
    strata: NDArray[np.int64] | None = None

    @property
    def draws(self) -> NDArray[np.str_]:
        """(n,) the unit of each value."""
        return self.items if self.units is None else self.units


#: One run: task -> its values. One arm: seed -> run. All: arm -> seed -> task -> values.
RunValues = Mapping[str, TaskValues]
ArmValues = Mapping[int, RunValues]


def complete_runs(arm: ArmValues, tasks: Mapping[str, float]) -> dict[int, RunValues]:
    """Return seed -> run of those that have all tasks."""
    return {seed: run for seed, run in arm.items() if all(task in run for task in tasks)}


def shared_seeds(arms: Iterable[ArmValues], tasks: Mapping[str, float]) -> frozenset[int]:
    """Return the seeds with which every arm has all tasks."""
    return frozenset.intersection(*(frozenset(complete_runs(arm, tasks)) for arm in arms))


def one_training(values: Mapping[str, ArmValues]) -> dict[str, str]:
    """Return each arm with the first arm, by name, that is the same training.

    Two are where every seed that both have gave the same value on every item of every task. Values that are
    all alike, as where every answer is right, say nothing of that.
    """
    found: dict[str, str] = {}
    for arm in sorted(values):
        known = dict.fromkeys(found.values())
        found[arm] = next((one for one in known if _are_copies(values[one], values[arm])), arm)
    return found


def _are_copies(ours: ArmValues, theirs: ArmValues) -> bool:
    seeds = [seed for seed in ours if ours[seed] and theirs.get(seed)]
    return bool(seeds) and all(
        ours[seed].keys() == theirs[seed].keys()
        and all(_are_equal(ours[seed][task], theirs[seed][task]) for task in ours[seed])
        and any(len(set(one.values.tolist())) > 1 for one in ours[seed].values())
        for seed in seeds
    )


def _are_equal(ours: TaskValues, theirs: TaskValues) -> bool:
    values = _in_order(theirs, ours.items)
    return values is not None and np.array_equal(ours.values, values)


def _in_order(given: TaskValues, items: NDArray[np.str_]) -> Floats | None:
    """Return values in the order of these items; None where they belong to others."""
    if np.array_equal(items, given.items):
        return given.values
    # Stable sorting pairs the first value of an item with the first, the second with the second.
    ours, theirs = np.argsort(items, kind="stable"), np.argsort(given.items, kind="stable")
    if not np.array_equal(items[ours], given.items[theirs]):
        return None
    ordered = np.empty_like(given.values)
    ordered[ours] = given.values[theirs]
    return ordered


class _Strata(NamedTuple):
    """The classes of one task's items; a plain mean over items has one class.

    Attributes:
        codes: (n,) class of each item.
        sizes: (c,) number of items in each class.
        num_units: (c,) number of distinct units in each.
    """

    codes: NDArray[np.int64]
    sizes: NDArray[np.int64]
    num_units: NDArray[np.int64]

    @classmethod
    def of(cls, values: TaskValues, task: str) -> _Strata:
        """Return the classes of a task.

        Raises:
            StudyError: It has fewer than two units.
        """
        units = np.unique(values.draws, return_inverse=True)[1].reshape(-1)
        num_units = int(np.max(units, initial=-1)) + 1
        if num_units < 2:
            raise StudyError("an interval needs at least two test items", where=task, value=num_units)
        strata = np.zeros(len(units), np.int64) if values.strata is None else values.strata
        codes = np.unique(strata, return_inverse=True)[1].reshape(-1)
        pairs = np.unique(codes * num_units + units)
        return cls(codes, np.bincount(codes), np.bincount(pairs // num_units))

    @property
    def floor(self) -> float:
        """Variance of the mean over classes of two pseudo-items that are shared out among them."""
        pseudo = 2 / len(self.sizes)
        return float((pseudo / (self.num_units + pseudo) ** 2).sum()) / len(self.sizes) ** 2

    def centred(self, values: Floats) -> Floats:
        """Return (n,) values minus their class's mean, such that squares of units add up without bias.

        A class with one unit has no spread of its own: it is taken from the level of the whole, which makes
        it too large rather than too small, as collapsing strata does (Cochran, 1977, chapter 5A).
        """
        num_classes, n = len(self.sizes), len(values)
        means = np.bincount(self.codes, values) / self.sizes
        has_spread = self.num_units > 1
        # An item of a class of m weighs n / (num_classes m), so this is the whole's level in its values.
        centre = np.where(has_spread, means, values.mean() * n / (num_classes * self.sizes))
        unbiased = np.where(has_spread, self.num_units / np.maximum(self.num_units - 1, 1), 1.0)
        found: Floats = np.sqrt(unbiased)[self.codes] * (values - centre[self.codes])
        return found


class Layout:
    """The items of every task in one order, and the number of the unit that each belongs to."""

    def __init__(self, reference: RunValues, tasks: Mapping[str, float]) -> None:
        self.tasks = dict(tasks)
        self.items = {task: reference[task].items for task in tasks}
        draws = {task: reference[task].draws for task in tasks}
        distinct, codes = np.unique(np.concatenate(list(draws.values())), return_inverse=True)
        self.num_items = len(distinct)
        self.codes = np.asarray(codes).reshape(-1)
        self.strata = {task: _Strata.of(reference[task], task) for task in tasks}
        self.floor = sum(weight**2 * self.strata[task].floor for task, weight in self.tasks.items())

    def row(self, run: RunValues, where: str) -> tuple[float, Floats]:
        """Return the weighted mean of one run and (i,) the influence of each unit on it.

        Raises:
            StudyError: It has no finite value for each item, or other items.
        """
        mean, shares = 0.0, list[Floats]()
        for task, weight in self.tasks.items():
            given = run[task]
            if len(given.values) != len(given.items) or not np.isfinite(given.values).all():
                raise StudyError("per-item values must be finite, one per item", where=f"{where}: {task}")
            values = _in_order(given, self.items[task])
            if values is None:
                way_out = "evaluate both on the same version of the suite: `pgsbench evaluate RUN`"
                rule = "the arms were tested on different items"
                raise StudyError(rule, where=f"{where}: {task}", way_out=way_out)
            mean += weight * float(values.mean())
            shares.append(weight / len(values) * self.strata[task].centred(values))
        added = np.bincount(self.codes, np.concatenate(shares), self.num_items)
        return mean, np.asarray(added, np.float64)
