"""What more seeds or test items would show, from the variance that a study has seen so far."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy import stats

from pgsbench.reporting.statistics.intervals import variance
from pgsbench.reporting.statistics.paired_values import Floats, PairedValues
from pgsbench.reporting.statistics.variance import Variance

#: Chance with which a true difference is to be found.
POWER = 0.8
#: More seeds than this are not worth saying.
MOST_SEEDS = 200
#: More test items than so many times today's are not, either.
MOST_ITEMS = 1000.0


@dataclass(frozen=True)
class Forecast:
    """How sure a difference would be with more seeds or test items.

    Args:
        paired: What was measured.
        weights: (a,) weights of the difference.
    """

    paired: PairedValues
    weights: Floats

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
        df = self._df(seeds)
        reach = float(stats.t.ppf(1 - alpha / 2, df) + stats.t.ppf(POWER, df))
        return reach * self.error(seeds, items_ratio)

    def seeds_for(self, difference: float, *, alpha: float = 0.05, items_ratio: float = 1.0) -> int | None:
        """Return how many seeds find a difference of this size; None: more than `MOST_SEEDS`."""
        return self._seeds_until(
            lambda seeds: self.detectable(seeds, items_ratio, alpha=alpha) <= abs(difference)
        )

    def seeds_to_decide(self, estimate: float, margin: float, *, alpha: float = 0.05) -> int | None:
        """Return after how many seeds a difference like the one seen would probably be decided.

        Args:
            estimate: The difference as it is now.
            margin: Smaller differences do not matter.
            alpha: Two-sided error rate of the comparison.
        """

        def is_decided(seeds: int) -> bool:
            df, error = self._df(seeds), self.error(seeds)
            room = (margin - abs(estimate)) / error - float(stats.t.ppf(POWER, df))
            is_equivalent = room >= float(stats.t.ppf(1 - alpha, df))
            return is_equivalent or self.detectable(seeds, alpha=alpha) <= abs(estimate)

        return self._seeds_until(is_decided)

    def items_for(self, difference: float, *, seeds: int, alpha: float = 0.05) -> int | None:
        """Return how many test items find a difference with so many seeds; None where no number does."""

        def is_found(ratio: float) -> bool:
            return self.detectable(seeds, ratio, alpha=alpha) <= abs(difference)

        if not is_found(MOST_ITEMS):
            return None
        low, high = 1e-3, MOST_ITEMS
        for _ in range(40):
            middle = float(np.sqrt(low * high))
            low, high = (low, middle) if is_found(middle) else (middle, high)
        return int(np.ceil(high * self.paired.num_items))

    @cached_property
    def _variance(self) -> Variance:
        return variance(self.paired, self.weights)

    def _df(self, seeds: int) -> float:
        """Return degrees of freedom: of seeds where they are seen to matter, else of items."""
        found = self._variance
        if seeds == 1 or float(found.seeds) <= float(found.noise):
            return self.paired.num_items - 1
        total, of_seeds = float(found.with_seeds(seeds)), float(found.seeds) * found.num_seeds / seeds
        seed_df = max(1, (len(self.paired.arms) - 1) * (seeds - 1))
        return max(1.0, min(seed_df * (total / of_seeds) ** 2, self.paired.num_items - 1))

    def _seeds_until(self, is_enough: Callable[[int], bool]) -> int | None:
        if self.has_one_seed:
            return None
        return next((seeds for seeds in range(2, MOST_SEEDS + 1) if is_enough(seeds)), None)
