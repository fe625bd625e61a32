"""What more seeds would show, from the variance that a study has seen so far."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
from scipy import stats

from pgsbench.errors import StudyError
from pgsbench.reporting.render import COUNT, Format, Header, Table, counted
from pgsbench.reporting.results import Results, named
from pgsbench.reporting.statistics.comparison import Comparison, Missing
from pgsbench.reporting.statistics.intervals import variance
from pgsbench.reporting.statistics.paired_values import PairedValues, lead
from pgsbench.reporting.statistics.variance import Variance

#: Chance with which a true difference is to be found.
POWER = 0.8
#: More seeds than this are not worth saying.
MOST_SEEDS = 200
#: Differences that are planned for, as shares.
DIFFERENCES = (0.005, 0.01, 0.02)


class Levels(NamedTuple):
    """Error rates of the two tests of a comparison.

    Attributes:
        differs: Of the two-sided test for a difference.
        is_far: Of each of the two one-sided tests for equivalence.
    """

    differs: float
    is_far: float


@dataclass(frozen=True)
class Forecast:
    """How sure a difference would be with more seeds.

    Args:
        paired: What was measured.
        weights: Arm -> weight of the difference.
    """

    paired: PairedValues
    weights: Mapping[str, float]

    @property
    def has_one_seed(self) -> bool:
        """Whether nothing is known of how much seeds matter."""
        return len(self.paired.seeds) == 1

    def error(self, seeds: int) -> float:
        """Return the standard error of the difference with so many seeds."""
        return float(np.sqrt(self._variance.with_seeds(seeds)))

    def detectable(self, seeds: int, *, alpha: float = 0.05) -> float:
        """Return the smallest true difference that so many seeds find with a chance of `POWER`.

        Args:
            seeds: Number of seeds.
            alpha: Two-sided error rate of the comparison.
        """
        df = self._df(seeds)
        reach = float(stats.t.ppf(1 - alpha / 2, df) + stats.t.ppf(POWER, df))
        return reach * self.error(seeds)

    def seeds_for(self, difference: float) -> int | None:
        """Return how many seeds find a difference of this size; None: more than `MOST_SEEDS`."""
        return self._seeds_until(lambda seeds: self.detectable(seeds) <= abs(difference), first=2)

    def seeds_to_decide(self, estimate: float, margin: float, levels: Callable[[int], Levels]) -> int | None:
        """Return after how many seeds, more than today's, a difference like the one seen is probably decided.

        Args:
            estimate: The difference as it is now.
            margin: Smaller differences do not matter.
            levels: Number of seeds -> the error rates of a comparison after them.
        """
        return self._seeds_until(
            lambda seeds: self._is_decided(estimate, margin, levels(seeds), seeds),
            first=len(self.paired.seeds) + 1,
        )

    def _is_decided(self, estimate: float, margin: float, levels: Levels, seeds: int) -> bool:
        if min(levels) <= 0:
            return False
        df, error = self._df(seeds), self.error(seeds)
        room = (margin - abs(estimate)) / error - float(stats.t.ppf(POWER, df))
        is_equivalent = room >= float(stats.t.ppf(1 - levels.is_far, df))
        return is_equivalent or self.detectable(seeds, alpha=levels.differs) <= abs(estimate)

    @cached_property
    def _variance(self) -> Variance:
        return variance(self.paired, self.weights)

    def _df(self, seeds: int) -> float:
        """Return degrees of freedom, as `variance_of` would have them with so many seeds."""
        found, of_items = self._variance, max(1.0, self.paired.num_items - 1.0)
        if seeds == 1:
            return of_items
        seed_df = max(1, (self.paired.num_trainings - 1) * (seeds - 1)) + float(found.borrowed_df)
        if float(found.seeds) > float(found.noise):
            of_seeds = float(found.seeds) * found.num_seeds / seeds
            seed_df *= (float(found.with_seeds(seeds)) / of_seeds) ** 2
        return max(1.0, min(seed_df, of_items))

    def _seeds_until(self, is_enough: Callable[[int], bool], first: int) -> int | None:
        if self.has_one_seed:
            return None
        return next((seeds for seeds in range(first, MOST_SEEDS + 1) if is_enough(seeds)), None)


def power_table(results: Results) -> Table:
    """Return the seeds and hours that differences of 0.5, 1 and 2 points take, for each pair."""
    if not results.pairs:
        way_out = "name another arm in --candidate or --baselines, or run a study that has two"
        raise StudyError("the study compares no two arms", where=results.study.name, way_out=way_out)
    headline = results.headline
    rows: list[list[object]] = []
    for ours, theirs in results.pairs:
        forecast = _forecast(results, ours, theirs, headline)
        pair = Comparison(ours, theirs, headline, Missing("")).pair
        seconds = sum(_seconds(results, label) for label in (ours, theirs))
        rows += [[pair, size, *_needed(forecast, size, seconds)] for size in DIFFERENCES]
    seeds = min(results.seeds(label)[0] for pair in results.pairs for label in pair)
    notes = [
        f"A true difference of so many points on {named(headline)} is then found with a chance of "
        f"{POWER:.0%} (two-sided test at 5 %, one comparison). From the variances of this pilot; with "
        f"{counted(seeds, 'seed')} they are rough.",
        f"Seeds: with today's test pictures; none: not with {MOST_SEEDS}. Hours: of training and evaluating "
        "both arms, one after another.",
    ]
    if seeds == 1:
        notes.insert(0, "One seed tells nothing of how much seeds matter: train the pilot with two or more.")
    points, hours = ("points", Format("{:g}", scale=100)), ("hours", Format("{:,.1f}"))
    header: Header = ["comparison", points, ("seeds", COUNT), hours]
    return Table("What a difference takes", header, rows, notes, num_keys=2)


def _needed(forecast: Forecast | None, difference: float, seconds: float) -> list[object]:
    """Return the seeds and hours that find a difference; `seconds` are those of one seed."""
    if forecast is None or forecast.has_one_seed:
        return [None] * 2
    seeds = forecast.seeds_for(difference)
    return [seeds, seeds * seconds / 3600] if seeds else ["none"] * 2


def _seconds(results: Results, label: str) -> float:
    """Return what a run of a label takes to train and evaluate, mean over its runs."""
    summaries = [run.summary for run in results.study.of(label) if run.state == "done" and run.summary]
    return float(np.mean([one.train_seconds + (one.eval_seconds or 0.0) for one in summaries] or [np.nan]))


def _forecast(results: Results, ours: str, theirs: str, of: str) -> Forecast | None:
    paired = results.pair_up([ours, theirs], of)
    if isinstance(paired, Missing) or paired.is_one_training(ours, theirs):
        return None
    return Forecast(paired, lead(ours, theirs))
