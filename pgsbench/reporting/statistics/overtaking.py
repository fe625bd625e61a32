"""At which budget one arm overtakes another, by the scores of their runs while they were trained.

Runs are paired by seed. Between two measurements scores are straight lines over the logarithm of the budget.
The budget is where the mean difference turns to the candidate's side and stays there; its 95 % interval holds
all budgets at which a t test over the seeds does not tell the two apart (a test inverted, as Fieller's). Test
items are taken as given: other ones would move all points of a curve together.
"""

from __future__ import annotations

from collections.abc import Sequence
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
#: Column of the curves -> what it is called, and the factor to it.
UNITS = {
    "samples": ("pairs", 1.0),
    "flops": ("TFLOP", 1e-12),
    "seconds": ("seconds", 1.0),
    "cpu_seconds": ("processor seconds", 1.0),
}

CAUTION = (
    "A score on the way is of a schedule made for another length: a training of just that budget is another "
    "training, and mostly a better one."
)


def three_digits(value: float) -> str:
    """Return a budget as people write it, with three digits that count: ``"25,000"``, ``"0.0125"``."""
    return f"{float(f'{value:.3g}'):,.12g}"


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
    def budget(self) -> str:
        """The budget with its interval, in its unit, as text; empty where the candidate is not ahead."""
        return "" if self.at is None else f"{self._number(self.at)} ({self._ends})"

    @property
    def finding(self) -> str:
        """Where the candidate overtakes the baseline, in a sentence."""
        unit, ours, theirs = UNITS[self.unit][0], self.candidate, self.baseline
        seeds = f"{self.num_seeds} seed{'s' if self.num_seeds > 1 else ''}"
        if self.at is None:
            return f"{ours} is not ahead of {theirs} after {self._number(self.last)} {unit} ({seeds})."
        does = f"overtakes {theirs} at"
        if self.at == self.first:
            does = f"leads {theirs} from the first budget on that both were measured at,"
        interval = "" if self.num_seeds == 1 else "95 % interval "
        return f"{ours} {does} {self._number(self.at)} {unit} ({interval}{self._ends}, {seeds})."

    @property
    def _ends(self) -> str:
        if self.num_seeds == 1:
            return "no interval"
        low = "before it" if self.low is None else self._number(self.low)
        return f"{low} to {'after the end' if self.high is None else self._number(self.high)}"

    @property
    def words(self) -> str:
        """What was found, and what it does not say, in sentences."""
        return f"{self.finding} {CAUTION}"

    def _number(self, budget: float) -> str:
        return three_digits(UNITS[self.unit][1] * budget)


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
    means = mean_curves(curves, [candidate, baseline])
    ours, theirs = (_by_seed(means[means["label"] == label], unit) for label in (candidate, baseline))
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


def mean_curves(curves: pd.DataFrame, labels: Sequence[str]) -> pd.DataFrame:
    """Return a row for each run and step: label, seed, step, `UNITS`, and the mean score over the tasks.

    Only tasks that all the labels were measured on count, and only steps at which all of these were.

    Args:
        curves: `Frames.score_curves`.
        labels: Whose runs.
    """
    chosen = curves[curves["label"].isin(labels)].drop_duplicates(["label", "seed", "step", "task"])
    of_each = [set(tasks) for _, tasks in chosen.groupby("label")["task"]]
    tasks = set.intersection(*of_each) if of_each else set[str]()
    rows = chosen[chosen["task"].isin(tasks)].groupby(["label", "seed", "step"])
    what = {**dict.fromkeys(UNITS, "first"), "score": "mean", "task": "count"}
    found = rows.agg(what).reset_index()
    return found[found.pop("task") == len(tasks)]


def _by_seed(means: pd.DataFrame, unit: str) -> dict[int, _Curve]:
    """Return seed -> rising budgets, and the score at each."""
    return {
        int(str(seed)): (rows[unit].to_numpy(float), rows["score"].to_numpy(float))
        for seed, rows in means.sort_values("step").groupby("seed")
    }


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
