"""The arms of a study as one world scores them, ready to be set against another world's."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import scipy.stats

from pgsbench.config.search import MEAN
from pgsbench.errors import StudyError, nearest
from pgsbench.reporting.results import Results
from pgsbench.reporting.statistics.comparison import Missing
from pgsbench.reporting.statistics.intervals import LEVEL, Interval, difference, mean_draws
from pgsbench.reporting.statistics.paired_values import PairedValues
from pgsbench.study.objective import Objective

#: Two arms can only be in the same order or in the other one.
MIN_ARMS = 3


@dataclass(frozen=True)
class World:
    """What some arms of a study score.

    Attributes:
        study: Name of the study.
        metric: ``mean``, a group, or ``TASK/METRIC``.
        means: Arm x seed: the score of each arm under each seed that all of them have.
        paired: The values of the test items behind the scores; None where the metric has none.
    """

    study: str
    metric: str
    means: pd.DataFrame
    paired: PairedValues | None = None

    @classmethod
    def of(cls, results: Results, metric: str, arms: Sequence[str]) -> World:
        """Return what a study says of some of its arms.

        Raises:
            StudyError: It has no such metric, or the arms have nothing in common.
        """
        scope = _scope(results, metric)
        if scope is None:
            return cls._by_seed(results, metric, arms)
        paired = results.pair_up(list(arms), scope)
        if isinstance(paired, Missing):
            raise StudyError(f"its arms cannot be paired: {paired.reason}", where=results.study.name)
        return cls(results.study.name, metric, paired.means.loc[list(arms)], paired)

    @classmethod
    def _by_seed(cls, results: Results, metric: str, arms: Sequence[str]) -> World:
        objective, study = Objective(metric), results.study
        try:
            values = {
                arm: {run.seed: objective.value(run.scores) for run in study.of(arm) if run.scores}
                for arm in arms
            }
        except StudyError as error:
            raise error.moved(lambda _: study.name) from None
        seeds = sorted(set.intersection(*(set(by_seed) for by_seed in values.values())))
        if not seeds:
            raise StudyError("its arms share no seed", where=study.name, value=list(arms))
        return cls(study.name, metric, pd.DataFrame(values).loc[seeds].T)

    @property
    def arms(self) -> list[str]:
        """Names of the arms."""
        return [str(arm) for arm in self.means.index]

    @property
    def seeds(self) -> list[int]:
        """The seeds that all of them have."""
        return [int(seed) for seed in self.means.columns]

    @property
    def scores(self) -> pd.Series[float]:
        """Mean of each arm over its seeds."""
        return self.means.mean(axis=1)

    @property
    def has_interval(self) -> bool:
        """Whether it is known how far the scores would move."""
        return self.paired is not None or len(self.seeds) > 1

    def difference(self, ours: str, theirs: str) -> Interval:
        """Return one arm minus another, with its interval."""
        if self.paired is not None:
            return difference(self.paired, ours, theirs)
        row = self.means.loc[ours] - self.means.loc[theirs]
        estimate, num_seeds = float(np.mean(row)), len(self.seeds)
        if not self.has_interval:
            return Interval(estimate, -np.inf, np.inf, float("nan"), num_seeds, 0, 0.0)
        variance, df = self._seed_variance()
        error = float(np.sqrt(2 * variance))
        reach = float(scipy.stats.t.ppf((1 + LEVEL) / 2, df)) * error
        p_value = float(2 * scipy.stats.t.sf(abs(estimate) / error, df)) if error else float(estimate == 0)
        return Interval(estimate, estimate - reach, estimate + reach, p_value, num_seeds, 0, df)

    def draws(self, count: int, rng: np.random.Generator) -> pd.DataFrame:
        """Draw scores as other test items and seeds would give them, draw x arm; NaN: that is unknown."""
        if self.paired is not None:
            return mean_draws(self.paired, self.arms, count, rng)
        if not self.has_interval:
            return pd.DataFrame(np.nan, range(count), self.arms)
        variance, df = self._seed_variance()
        scale = np.sqrt(variance * df / rng.chisquare(df, size=(count, 1)))
        drawn = self.scores.to_numpy() + scale * rng.standard_normal((count, len(self.arms)))
        return pd.DataFrame(drawn, columns=self.arms)

    def _seed_variance(self) -> tuple[float, int]:
        """Return the variance of an arm's mean by what seeds do to it alone, and its degrees of freedom."""
        centred = self.means.sub(self.scores, axis="index").to_numpy()
        df = (len(self.arms) - 1) * (len(self.seeds) - 1)
        return float(np.square(centred - centred.mean(axis=0)).sum()) / df / len(self.seeds), df


def _scope(results: Results, metric: str) -> str | None:
    """Return the group or task whose test items stand behind a metric; None: none do."""
    if metric == MEAN:
        return next(iter(results.groups), None)
    if metric in results.groups:
        return metric
    task, name = Objective(metric).task_and_metric
    primary = {task: name for tasks in results.study.groups.values() for task, name in tasks.items()}
    return task if primary.get(task) == name else None


def matched(reference: Results, world: Results, wanted: Sequence[str] | None = None) -> list[str]:
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
            raise StudyError(
                "not both studies have scores of this arm",
                where=names,
                value=label,
                way_out=nearest(label, shared),
            )
    shared = [label for label in shared if wanted is None or label in wanted]
    if len(shared) < MIN_ARMS:
        raise StudyError(
            f"the order of arms needs at least {MIN_ARMS} arms of the same name with scores in both studies",
            where=names,
            value=shared,
            way_out=f"they have {', '.join(ours)}; and {', '.join(theirs)}",
        )
    return shared
