"""At which budget one arm overtakes another, by the scores of their runs while they were trained.

Runs are paired by seed. Between two measurements scores are straight lines over the logarithm of the budget.
The budget is where the mean difference turns to the candidate's side and stays there; its 95 % interval holds
all budgets at which a t test over the seeds does not tell the two apart (a test inverted, as Fieller's). Test
items are taken as given: other ones would move all points of a curve together.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats

from pgsbench.errors import StudyError
from pgsbench.reporting.statistics.task_values import Floats

LEVEL = 0.95
#: Budgets, evenly spaced over their logarithm, at which the two are compared.
NUM_BUDGETS = 400
#: Column of the curves -> what it is called.
UNITS = {"samples": "pairs", "flops": "operations", "seconds": "seconds", "cpu_seconds": "processor seconds"}

CAUTION = (
    "A score on the way is of a schedule made for another length: a training of just that budget is another "
    "training, and mostly a better one."
)


@dataclass(frozen=True)
class Overtaking:
    """Where a candidate overtakes a baseline.

    Attributes:
        candidate: The one.
        baseline: The other.
        unit: Column that the budget is in, of `UNITS`.
        at: The budget; None: the candidate is not ahead at the end.
        low: Lower end of the interval; None: nowhere surely behind, so it may be before what was measured.
        high: Upper end; None: not surely ahead at the end.
        first: The smallest budget that was measured of both.
        last: The largest.
        num_seeds: Seeds behind it.
    """

    candidate: str
    baseline: str
    unit: str
    at: float | None
    low: float | None
    high: float | None
    first: float
    last: float
    num_seeds: int

    @property
    def words(self) -> str:
        """What was found, in sentences."""
        unit, seeds = UNITS[self.unit], f"{self.num_seeds} seed{'s' if self.num_seeds > 1 else ''}"
        if self.at is None:
            said = f"{self.candidate} is not ahead of {self.baseline} after {self.last:.3g} {unit} ({seeds})."
        else:
            where = "from the first measurement on, at" if self.at == self.first else "at"
            low = "before what was measured" if self.low is None else f"{self.low:.3g}"
            high = "after it" if self.high is None else f"{self.high:.3g}"
            said = (
                f"{self.candidate} is ahead of {self.baseline} {where} {self.at:.3g} {unit} "
                f"(95 % interval: {low} to {high}; {seeds})."
            )
        return f"{said} {CAUTION}"


def overtaking(curves: pd.DataFrame, candidate: str, baseline: str, *, unit: str = "flops") -> Overtaking:
    """Return at which budget a candidate overtakes a baseline.

    Args:
        curves: `Frames.score_curves`; of several tasks the mean counts.
        candidate: A label.
        baseline: Another one.
        unit: What the budget is in, of `UNITS`.

    Raises:
        StudyError: There is no such unit, or the two share no seed or no budget that was measured.
    """
    if unit not in UNITS:
        raise StudyError(f"a budget is in {', '.join(UNITS)}", where="unit", value=unit)
    ours, theirs = (_by_seed(curves[curves["label"] == label], unit) for label in (candidate, baseline))
    seeds = sorted(ours.keys() & theirs.keys())
    both = [one[seed] for one in (ours, theirs) for seed in seeds]
    first = max((budgets[0] for budgets, _ in both), default=np.nan)
    last = min((budgets[-1] for budgets, _ in both), default=np.nan)
    if not 0 < first < last:
        raise StudyError(
            "no seed of the two was measured at common budgets",
            where=f"{candidate}, {baseline}",
            way_out="set evaluation.during, and train both with the same seeds",
        )
    grid = np.geomspace(first, last, NUM_BUDGETS)
    leads = np.array([_at(grid, *ours[seed]) - _at(grid, *theirs[seed]) for seed in seeds])
    mean, reach = leads.mean(axis=0), _reach(leads)
    since = _ahead_since(mean > 0)
    sure = _ahead_since(mean - reach > 0)
    behind = np.flatnonzero(mean[: since + 1] + reach[: since + 1] < 0) if since is not None else np.array([])
    return Overtaking(
        candidate,
        baseline,
        unit,
        at=None if since is None else float(grid[since]),
        low=float(grid[behind[-1]]) if len(behind) else None,
        high=None if sure is None else float(grid[sure]),
        first=float(first),
        last=float(last),
        num_seeds=len(seeds),
    )


_Curve = tuple[Floats, Floats]


def _by_seed(curves: pd.DataFrame, unit: str) -> dict[int, _Curve]:
    """Return seed -> rising budgets, and the mean score over the tasks at each."""
    found = {}
    for seed, of_seed in curves.groupby("seed"):
        means = of_seed.groupby(unit)["score"].mean().sort_index()
        found[int(str(seed))] = means.index.to_numpy(float), means.to_numpy(float)
    return found


def _at(grid: Floats, budgets: Floats, scores: Floats) -> Floats:
    return np.interp(np.log(grid), np.log(budgets), scores)


def _reach(leads: Floats) -> Floats:
    """Return half of the t interval of the mean over seeds (s, g) at each budget; of one seed infinite."""
    count = len(leads)
    if count == 1:
        return np.full(leads.shape[1], np.inf)
    error = leads.std(axis=0, ddof=1) / np.sqrt(count)
    return np.asarray(stats.t.ppf((1 + LEVEL) / 2, count - 1) * error)


def _ahead_since(is_ahead: NDArray[np.bool_]) -> int | None:
    """Return the place from which on all are true; None: the last is not."""
    if not is_ahead[-1]:
        return None
    return int(np.flatnonzero(~is_ahead)[-1]) + 1 if not is_ahead.all() else 0
