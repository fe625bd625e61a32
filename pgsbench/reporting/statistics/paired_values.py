"""Per-item values of several arms, brought together so that seeds and test items pair up.

Letters: a arms, s seeds, i units, see `task_values`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import pandas as pd

from pgsbench.errors import StudyError
from pgsbench.reporting.statistics.task_values import (
    ArmValues,
    Floats,
    Layout,
    complete_runs,
    one_training,
    shared_seeds,
)


@dataclass(frozen=True)
class SeedSpread:
    """What other studies say of how much seeds matter.

    Attributes:
        variance: Variance that a seed gives to the score of one arm alone: beyond what it does to all arms,
            and beyond what test items explain, so it holds for any number of them. A difference of two arms
            has twice as much. Simulations have one for each repetition.
        df: Degrees of freedom of the mean square that it comes from.
        source: Where it comes from, in words.
        noise: What test items added to that mean square. Where they add less to the borrower's, the degrees
            of freedom count less, by Satterthwaite.
    """

    variance: float | Floats
    df: float
    source: str = ""
    noise: float = 0.0


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
        complete = {arm: complete_runs(values.get(arm, {}), tasks) for arm in values}
        for arm in arms:
            if not complete.get(arm):
                raise StudyError("no complete run has all tasks", where=arm, value=sorted(tasks))
        seeds = sorted(shared_seeds([values[arm] for arm in arms], tasks))
        if not seeds:
            way_out = "train them with equal seeds"
            raise StudyError("the arms share no seed", value=list(arms), way_out=way_out)
        layout = Layout(complete[arms[0]][seeds[0]], tasks)
        rows = {
            arm: [layout.row(complete[arm][seed], f"{arm}, seed {seed}") for seed in seeds] for arm in arms
        }
        for arm in complete:
            if arm not in rows and set(seeds) <= set(complete[arm]):
                with suppress(StudyError):
                    rows[arm] = [layout.row(complete[arm][seed], arm) for seed in seeds]
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
        scores = self.scores(list(contrast))
        return sum(weight * float(scores[arm]) for arm, weight in contrast.items())

    def arrays(self, contrast: Mapping[str, float]) -> tuple[Floats, Floats, Floats]:
        """Return (a, s) means, (a, s, i) influence and the (a,) weights of a contrast, all in one order.

        Letter a: trainings. Copies of one are one row, with the sum of their weights: each would count as
        evidence of how little seeds matter, else.
        """
        arms, means, influence = self._stacked
        weights = dict.fromkeys(arms, 0.0)
        for arm, weight in contrast.items():
            weights[self.training_of(arm)] += weight
        return means, influence, np.array(list(weights.values()))

    @cached_property
    def _stacked(self) -> tuple[list[str], Floats, Floats]:
        """Trainings, with their (a, s) means and (a, s, i) influence: a report asks hundreds of times."""
        # Sorted, so that no digit depends on what was asked before.
        arms = sorted({self.training_of(arm) for arm in self.influence})
        means = self.means.loc[arms].to_numpy(dtype=np.float64)
        return arms, means, np.array([self.influence[arm] for arm in arms])


def lead(ours: str, theirs: str) -> dict[str, float]:
    """Return the weights of one arm's lead over another.

    Raises:
        ValueError: They are one arm. Of two weights under one key the second would stay alone: the arm would
            seem to trail itself by its whole score.
    """
    if ours == theirs:
        raise ValueError(f"{ours} cannot lead itself")
    return {ours: 1.0, theirs: -1.0}
