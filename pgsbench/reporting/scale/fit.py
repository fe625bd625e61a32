"""How an arm's error falls with its budget, and what that says of a budget that was not measured."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

from pgsbench.errors import StudyError
from pgsbench.reporting.statistics.intervals import LEVEL
from pgsbench.reporting.statistics.paired_values import Floats

#: A power law has two parameters; a third budget shows whether it holds.
MIN_BUDGETS = 3


@dataclass(frozen=True)
class Predicted:
    """A score that was not measured, with its 95 % interval."""

    score: float
    low: float
    high: float


@dataclass(frozen=True)
class PowerLaw:
    """error = e^intercept * budget^slope, least squares on logarithms.

    Attributes:
        intercept: Log error at a budget of 1.
        slope: How fast the error falls; negative where more budget helps.
        covariance: (2, 2) of both.
        residual: Variance of a measured log error around the line.
        df: Degrees of freedom of `residual`.
    """

    intercept: float
    slope: float
    covariance: Floats
    residual: float
    df: int

    @classmethod
    def fit(cls, budgets: Sequence[float], scores: Sequence[float], errors: Sequence[float]) -> PowerLaw:
        """Fit an arm's scores.

        Args:
            budgets: Operations, samples or hours of each budget.
            scores: Mean score at each, shares.
            errors: Standard error of each score.

        Raises:
            StudyError: There are fewer than `MIN_BUDGETS`.
        """
        if len(budgets) < MIN_BUDGETS:
            raise StudyError(f"a fit needs {MIN_BUDGETS} budgets", where="budgets", value=len(budgets))
        left = np.clip(1 - np.asarray(scores), 1e-6, None)
        x = np.column_stack([np.ones(len(budgets)), np.log(budgets)])
        y = np.log(left)
        inverse = np.linalg.inv(x.T @ x)
        beta = inverse @ x.T @ y
        df = len(budgets) - 2
        # Three points may lie on a line by chance: they are known no better than they were measured.
        residual = max(
            float(((y - x @ beta) ** 2).sum()) / df, float(np.mean((np.asarray(errors) / left) ** 2))
        )
        return cls(float(beta[0]), float(beta[1]), inverse * residual, residual, df)

    def predict(self, budget: float) -> Predicted:
        """Return the score that a new run at a budget would have; the interval is for that measurement."""
        at = np.array([1.0, np.log(budget)])
        middle = self.intercept + self.slope * at[1]
        error = np.sqrt(self.residual + float(at @ self.covariance @ at))
        reach = float(stats.t.ppf((1 + LEVEL) / 2, self.df) * error)
        score, low, high = (max(0.0, 1 - float(np.exp(middle + shift))) for shift in (0.0, reach, -reach))
        return Predicted(score, low, high)


def crossing(ours: PowerLaw, theirs: PowerLaw) -> float | None:
    """Return the budget at which two arms are as good; None where their lines do not meet."""
    steeper = ours.slope - theirs.slope
    if abs(steeper) < 1e-12:
        return None
    logarithm = (theirs.intercept - ours.intercept) / steeper
    return float(np.exp(logarithm)) if abs(logarithm) < 100 else None
