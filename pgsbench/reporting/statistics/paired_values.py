"""Per-item values of several arms, brought together so that seeds and test items pair up.

Letters: a arms, s seeds, i distinct units: test items that were drawn together count as one.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from pgsbench.errors import StudyError
from pgsbench.reporting.statistics.seed_spread import SeedSpread

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


@dataclass(frozen=True)
class PairedValues:
    """Weighted means over tasks of several arms with the same seeds, and what each item adds to them.

    A panel may hold more arms than were asked for, in whatever order: take arms and seeds by name alone.

    Attributes:
        means: Arm x seed: weighted mean over the tasks of each task's mean over its items.
        influence: Arm -> seed x unit: what the unit adds to `means`: its values minus the mean of their task,
            or of their class where that is a mean over classes, times the task's weight over its number of
            values, summed over all its values in all tasks.
        floor: Variance that is never undercut, so that 30 right answers of 30 are not "100.0 +- 0.0": the
            two pseudo-items of Agresti & Coull (1998) and, for differences, Bonett & Price (2012), in each
            task, shared out among its classes.
        trainings: Arm -> the arm that stands for its training, see `one_training`; one that is not named
            stands for itself.
        borrowed: What other studies of the same recipe say of seeds; None: nothing is known of it.
    """

    means: pd.DataFrame
    influence: Mapping[str, pd.DataFrame]
    floor: float
    trainings: Mapping[str, str] = field(default_factory=dict)
    borrowed: SeedSpread | None = None

    @classmethod
    def build(
        cls,
        values: Mapping[str, ArmValues],
        tasks: Mapping[str, float],
        arms: Sequence[str],
    ) -> PairedValues:
        """Align the values of `arms`, and of all other arms that can join them.

        An arm joins if it has every seed and item that `arms` have in common; arms that cannot join only
        lend no help in estimating how much seeds vary.

        Args:
            values: arm -> seed -> task -> values. Runs that lack a task are left out.
            tasks: task -> weight; the weights sum to one.
            arms: The arms that must be there.

        Raises:
            StudyError: An arm has no complete run, the arms share no seed, or their test items differ.
        """
        complete = {arm: _complete_runs(values.get(arm, {}), tasks) for arm in values}
        for arm in arms:
            if not complete.get(arm):
                raise StudyError("no complete run has all tasks", where=arm, value=sorted(tasks))
        seeds = sorted(shared_seeds([values[arm] for arm in arms], tasks))
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
            means=pd.DataFrame({arm: [mean for mean, _ in row] for arm, row in rows.items()}, seeds).T,
            influence={
                arm: pd.DataFrame(np.array([share for _, share in row]), seeds) for arm, row in rows.items()
            },
            floor=layout.floor,
            trainings=one_training({arm: values[arm] for arm in rows}),
        )

    def is_one_training(self, ours: str, theirs: str) -> bool:
        """Whether two arms are copies of one training."""
        return self.training_of(ours) == self.training_of(theirs)

    def training_of(self, arm: str) -> str:
        """Return the arm that stands for the training of an arm."""
        return self.trainings.get(arm, arm)

    @property
    def num_trainings(self) -> int:
        """Number of trainings that the arms are."""
        return len({self.training_of(arm) for arm in self.influence})

    @property
    def arms(self) -> frozenset[str]:
        """Names of the arms."""
        return frozenset(self.means.index)

    @property
    def seeds(self) -> list[int]:
        """The seeds that all arms have, ascending."""
        return [int(seed) for seed in self.means.columns]

    @property
    def num_items(self) -> int:
        """Number of distinct units i."""
        return next(iter(self.influence.values())).shape[1]

    def of_seeds(self, seeds: Sequence[int]) -> PairedValues:
        """Return what is known from some of the seeds."""
        wanted = list(seeds)
        influence = {arm: of_arm.loc[wanted] for arm, of_arm in self.influence.items()}
        return PairedValues(self.means[wanted], influence, self.floor, self.trainings, self.borrowed)

    def scores(self, arms: Sequence[str]) -> pd.Series[float]:
        """Return the mean over seeds of some arms, in the order in which they are asked for."""
        return self.means.loc[list(arms)].mean(axis=1)

    def estimate(self, contrast: Mapping[str, float]) -> float:
        """Return a weighted sum of arms' means; arms that the contrast does not name weigh nothing."""
        return sum(
            weight * float(score)
            for weight, score in zip(contrast.values(), self.scores(list(contrast)), strict=True)
        )

    def arrays(self, contrast: Mapping[str, float]) -> tuple[Floats, Floats, Floats]:
        """Return (a, s) means, (a, s, i) influence and the (a,) weights of a contrast, all in one order.

        Letter a: trainings. Copies of one are one row, with the sum of their weights: each would count as
        evidence of how little seeds matter, else.
        """
        # Sorted, so that no digit depends on what was asked before.
        arms = sorted({self.training_of(arm) for arm in self.influence})
        return (
            self.means.loc[arms].to_numpy(dtype=np.float64),
            np.array([self.influence[arm] for arm in arms]),
            np.array(
                [
                    sum(weight for arm, weight in contrast.items() if self.training_of(arm) == one)
                    for one in arms
                ],
                np.float64,
            ),
        )


def shared_seeds(arms: Iterable[ArmValues], tasks: Mapping[str, float]) -> frozenset[int]:
    """Return the seeds with which every arm has all tasks."""
    return frozenset.intersection(*(frozenset(_complete_runs(arm, tasks)) for arm in arms))


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
    if np.array_equal(ours.items, theirs.items):
        return np.array_equal(ours.values, theirs.values)
    one, other = (np.argsort(side.items, kind="stable") for side in (ours, theirs))
    return np.array_equal(ours.items[one], theirs.items[other]) and np.array_equal(
        ours.values[one], theirs.values[other]
    )


def lead(ours: str, theirs: str) -> dict[str, float]:
    """Return the weights of one arm's lead over another.

    Raises:
        ValueError: They are one arm. Of two weights under one key the second would stay alone: the arm would
            seem to trail itself by its whole score.
    """
    if ours == theirs:
        raise ValueError(f"{ours} cannot lead itself")
    return {ours: 1.0, theirs: -1.0}


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


class _Layout:
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
        """Return the weighted mean of one run and (i,) the influence of each unit on it."""
        mean, shares = 0.0, []
        for task, weight in self.tasks.items():
            values = self._in_order(task, run[task], where)
            mean += weight * float(values.mean())
            shares.append(weight / len(values) * self.strata[task].centred(values))
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
