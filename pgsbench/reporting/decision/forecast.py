"""What more seeds or test items would show, from the variance that a study has seen so far."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
from scipy import stats

from pgsbench.reporting.statistics.intervals import variance
from pgsbench.reporting.statistics.paired_values import PairedValues
from pgsbench.reporting.statistics.variance import Variance

#: Chance with which a true difference is to be found.
POWER = 0.8
#: More seeds than this are not worth saying.
MOST_SEEDS = 200
#: More test items than so many times today's are not, either.
MOST_ITEMS = 1000.0


class Levels(NamedTuple):
    """Error rates of the two tests of a comparison.

    Attributes:
        differs: Of the two-sided test for a difference.
        is_far: Of each of the two one-sided tests for equivalence.
    """

    differs: float
    is_far: float


#: Of one comparison that is looked at once.
ONE_LOOK = Levels(0.05, 0.05)


@dataclass(frozen=True)
class Forecast:
    """How sure a difference would be with more seeds or test items.

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

    def error(self, seeds: int, items_ratio: float = 1.0) -> float:
        """Return the standard error of the difference.

        Args:
            seeds: Number of seeds.
            items_ratio: Test items as a multiple of today's.
        """
        return float(np.sqrt(self._variance.with_seeds(seeds, items_ratio)))

    def detectable(self, seeds: int, items_ratio: float = 1.0, *, alpha: float = 0.05) -> float:
        """Return the smallest true difference that is found with a chance of `POWER`.

        Args:
            seeds: Number of seeds.
            items_ratio: Test items as a multiple of today's.
            alpha: Two-sided error rate of the comparison.
        """
        df = self._df(seeds, items_ratio)
        reach = float(stats.t.ppf(1 - alpha / 2, df) + stats.t.ppf(POWER, df))
        return reach * self.error(seeds, items_ratio)

    def seeds_for(self, difference: float) -> int | None:
        """Return how many seeds find a difference of this size; None: more than `MOST_SEEDS`."""
        return self._seeds_until(lambda seeds: self.detectable(seeds) <= abs(difference))

    def seeds_to_decide(
        self, estimate: float, margin: float, levels: Callable[[int], Levels] = lambda _: ONE_LOOK
    ) -> int | None:
        """Return after how many seeds, more than today's, a difference like the one seen is probably decided.

        Args:
            estimate: The difference as it is now.
            margin: Smaller differences do not matter.
            levels: Number of seeds -> the error rates of a comparison after them.
        """
        return self._seeds_until(
            lambda seeds: self._is_decided(estimate, margin, levels(seeds), seeds),
            len(self.paired.seeds) + 1,
        )

    def items_to_decide(self, estimate: float, margin: float, levels: Levels = ONE_LOOK) -> int | None:
        """Return how many test items probably decide it with today's seeds; None where no number does."""
        seeds = len(self.paired.seeds)
        return self._items_until(lambda ratio: self._is_decided(estimate, margin, levels, seeds, ratio))

    def items_for(self, difference: float, *, seeds: int) -> int | None:
        """Return how many test items find a difference with so many seeds; None where no number does."""
        return self._items_until(lambda ratio: self.detectable(seeds, ratio) <= abs(difference))

    def _is_decided(
        self, estimate: float, margin: float, levels: Levels, seeds: int, items_ratio: float = 1.0
    ) -> bool:
        if min(levels) <= 0:
            return False
        df, error = self._df(seeds, items_ratio), self.error(seeds, items_ratio)
        room = (margin - abs(estimate)) / error - float(stats.t.ppf(POWER, df))
        is_equivalent = room >= float(stats.t.ppf(1 - levels.is_far, df))
        return is_equivalent or self.detectable(seeds, items_ratio, alpha=levels.differs) <= abs(estimate)

    @cached_property
    def _variance(self) -> Variance:
        return variance(self.paired, self.weights)

    def _df(self, seeds: int, items_ratio: float = 1.0) -> float:
        """Return degrees of freedom, as `variance_of` would have them with so many items."""
        found, of_items = self._variance, max(1.0, self.paired.num_items * items_ratio - 1)
        if seeds == 1:
            return of_items
        seed_df = max(1, (self.paired.num_trainings - 1) * (seeds - 1)) + float(found.borrowed_df)
        if float(found.seeds) > float(found.noise):
            moved = float(found.seeds - found.noise + found.noise / items_ratio)
            total, of_seeds = float(found.with_seeds(seeds, items_ratio)), moved * found.num_seeds / seeds
            seed_df *= (total / of_seeds) ** 2
        return max(1.0, min(seed_df, of_items))

    def _seeds_until(self, is_enough: Callable[[int], bool], first: int = 2) -> int | None:
        if self.has_one_seed:
            return None
        return next((seeds for seeds in range(first, MOST_SEEDS + 1) if is_enough(seeds)), None)

    def _items_until(self, is_enough: Callable[[float], bool]) -> int | None:
        """Return the fewest test items that are enough, found by their multiple of today's."""
        if not is_enough(MOST_ITEMS):
            return None
        low, high = 1e-3, MOST_ITEMS
        for _ in range(40):
            middle = float(np.sqrt(low * high))
            low, high = (low, middle) if is_enough(middle) else (middle, high)
        return int(np.ceil(high * self.paired.num_items))
