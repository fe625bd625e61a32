"""A study at several budgets: how errors fall, prediction beside measurement, where curves cross."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullLocator
from scipy import stats

from pgsbench.reporting import words
from pgsbench.reporting.columns import Row, rows_of
from pgsbench.reporting.render import PERCENT, Estimate, Format, Header, Table
from pgsbench.reporting.results import Results
from pgsbench.reporting.statistics.intervals import LEVEL, Interval
from pgsbench.reporting.statistics.overtaking import three_digits
from pgsbench.reporting.statistics.task_values import Floats
from pgsbench.reporting.style import FIRST_WIDTH, PAPER, label_lines, new_figure, pens, percent_tick, themed

#: A power law has two parameters; a third budget shows whether it holds.
MIN_BUDGETS = 3

#: What a budget is measured in -> what an arm took, and its factor and unit in tables.
UNITS: dict[str, tuple[Callable[[Row], float | None], float, str]] = {
    "flops": (lambda row: row.summary.get("flops"), 1e-12, "TFLOP"),
    "samples": (lambda row: row.summary.get("samples"), 1.0, "samples"),
    "hours": (lambda row: row.seconds, 1 / 3600, "hours"),
}

#: A crossing is told within so many times the measured budgets; further off it says nothing.
FAR = 4.0


@dataclass(frozen=True)
class Measured:
    """An arm at a budget.

    Attributes:
        cost: What it took, in a unit of `UNITS`.
        score: Its mean score on the headline, with interval.
    """

    cost: float
    score: Interval

    @property
    def error(self) -> float:
        """Standard error of the score."""
        one = self.score
        half = max(one.high - one.estimate, one.estimate - one.low)  # the other may be cut at 0 or 1
        return half / _t(one.df)


@dataclass(frozen=True)
class PowerLaw:
    """error = e^intercept * budget^slope, least squares on logarithms.

    Attributes:
        slope: How fast the error falls; negative where more budget helps.
        intercept: Log error at a budget of 1.
        covariance: (2, 2) of both.
        residual: Variance of a measured log error around the line.
        df: Degrees of freedom of `residual`.
    """

    slope: float
    intercept: float
    covariance: Floats
    residual: float
    df: int

    @classmethod
    def fit(cls, budgets: Sequence[float], scores: Sequence[float], errors: Sequence[float]) -> PowerLaw:
        """Fit an arm's scores.

        Args:
            budgets: Operations, samples or hours of each budget, `MIN_BUDGETS` or more.
            scores: Mean score at each, shares.
            errors: Standard error of each score.
        """
        left = np.clip(1 - np.asarray(scores), 1e-6, None)
        x, y, df = np.log(budgets), np.log(left), len(budgets) - 2
        line, inverse = np.polyfit(x, y, 1, cov="unscaled")
        # Three points may lie on a line by chance: they are known no better than they were measured.
        around = float(((y - np.polyval(line, x)) ** 2).sum()) / df
        residual = max(around, float(np.mean((np.asarray(errors) / left) ** 2)))
        return cls(float(line[0]), float(line[1]), inverse * residual, residual, df)

    def predict(self, budget: float) -> Estimate:
        """Return the score that a new run at a budget would have; the interval is for that measurement."""
        at = np.array([np.log(budget), 1.0])
        middle = self.slope * at[0] + self.intercept
        reach = _t(self.df) * float(np.sqrt(self.residual + at @ self.covariance @ at))
        score, low, high = (max(0.0, 1 - float(np.exp(middle + shift))) for shift in (0.0, reach, -reach))
        return Estimate(score, low, high)


def _t(df: float) -> float:
    """Return how many standard errors an interval reaches to either side."""
    return float(stats.t.ppf((1 + LEVEL) / 2, df))


def crossing(ours: PowerLaw, theirs: PowerLaw) -> float | None:
    """Return the budget at which two arms are as good; None where their lines do not meet."""
    steeper = ours.slope - theirs.slope
    if abs(steeper) < 1e-12:
        return None
    logarithm = (theirs.intercept - ours.intercept) / steeper
    return float(np.exp(logarithm)) if abs(logarithm) < 100 else None


def measured(results: Results, unit: str) -> dict[str, Measured]:
    """Return what each arm cost and scored at one budget; arms without results are left out."""
    cost_of, factor, _ = UNITS[unit]
    found = {}
    for label, row in rows_of(results).items():
        score, cost = results.mean(label, results.headline), cost_of(row)
        if isinstance(score, Interval) and cost:
            found[label] = Measured(cost * factor, score)
    return found


_EXPONENT = Format(lambda slope: f"{slope:.3f}".replace("-", "−"))
_BUDGET = Format(three_digits)


@dataclass(frozen=True)
class Scaling:
    """What arms cost and scored at several budgets, and what follows from it.

    Attributes:
        by_budget: Arm -> what was measured, at each budget, growing.
        unit: What budgets are in, a key of `UNITS`.
        grown: How many times the largest of them the budget is that was held out; None: none was.
        found: Arm -> what was measured at that one; empty until it is.
    """

    by_budget: Sequence[Mapping[str, Measured]]
    unit: str
    grown: float | None = None
    found: Mapping[str, Measured] = field(default_factory=dict)

    @cached_property
    def laws(self) -> dict[str, PowerLaw]:
        """The power law of each arm that was measured at every budget."""
        laws = {}
        for arm in self.by_budget[0]:
            found = [one[arm] for one in self.by_budget if arm in one]
            if len(found) == len(self.by_budget):
                columns = zip(*((one.cost, one.score.estimate, one.error) for one in found), strict=True)
                laws[arm] = PowerLaw.fit(*columns)
        return laws

    @cached_property
    def predicted(self) -> dict[str, tuple[float, Estimate]]:
        """Arm -> what it costs at the budget that was held out, and its score as predicted."""
        costs = {arm: self.by_budget[-1][arm].cost * (self.grown or 0.0) for arm in self.laws}
        return {arm: (cost, self.laws[arm].predict(cost)) for arm, cost in costs.items() if self.grown}

    def _holds(self, arm: str) -> bool:
        guess = self.predicted[arm][1]
        return guess.low <= self.found[arm].score.estimate <= guess.high

    @property
    def _costs(self) -> list[float]:
        every = (*self.by_budget, self.found)
        return [one[arm].cost for one in every for arm in self.laws if arm in one]

    @property
    def answer(self) -> str:
        """Whether the lead holds as the budget grows, and whether the prediction did, if one was made."""
        every = [*self.by_budget, *([self.found] if self.found else [])]
        leaders = [max(self.laws.keys() & one, key=lambda arm: one[arm].score.estimate) for one in every]
        first, last = leaders[0], leaders[-1]
        meets = crossing(self.laws[first], self.laws[last]) or 0.0 if first != last else 0.0
        is_near = min(self._costs) / FAR <= meets <= FAR * max(self._costs)
        at = f"{_BUDGET.text(meets)} {UNITS[self.unit][2]}" if is_near else ""
        held = [self._holds(arm) for arm in self.found if arm in self.predicted]
        return words.as_budgets_grow(leaders, list(self.laws), at, all(held) if held else None)

    @property
    def tables(self) -> list[Table]:
        """Prediction beside measurement, where there is one, and how fast errors fall."""
        return [*([self._held_out()] if self.predicted else []), self._fits()]

    def _fits(self) -> Table:
        """Return how fast each arm's error falls, and where the first arm's curve meets the others'."""
        costs = [one[arm].cost for one in self.by_budget for arm in self.laws]
        least, most = min(costs) / FAR, max(costs) * FAR
        first = next(iter(self.laws))
        rows: list[list[object]] = []
        for arm, law in self.laws.items():
            reach = _t(law.df) * float(np.sqrt(law.covariance[0, 0]))
            meets = crossing(self.laws[first], law) or 0.0
            told = "" if arm == first else meets if least <= meets <= most else "nowhere near"
            rows.append([arm, Estimate(law.slope, law.slope - reach, law.slope + reach), told])
        notes = [
            "Error = 1 − score on the headline, a power law of the budget, least squares on logarithms, 95 % "
            f"t intervals. Crossing: the budget ({UNITS[self.unit][2]}) at which the fits of {first} and the "
            f"arm meet, looked for within {FAR:g} times what was measured."
        ]
        header: Header = ["arm", ("exponent", _EXPONENT), ("crossing", _BUDGET)]
        return Table("How the error falls with the budget", header, rows, notes)

    def _held_out(self) -> Table:
        """Return prediction beside measurement at the budget that was held out."""
        rows: list[list[object]] = []
        for arm, (cost, guess) in self.predicted.items():
            seen: list[object] = [None, None]
            if arm in self.found:
                seen = [self.found[arm].score, "yes" if self._holds(arm) else "no"]
            rows.append([arm, cost, guess, *seen])
        numbers = [(UNITS[self.unit][2], _BUDGET), ("predicted", PERCENT), ("measured", PERCENT)]
        notes = ["Percent, 95 % intervals. The prediction was written down before the budget was trained."]
        header: Header = ["arm", *numbers, "in the interval"]
        return Table("Prediction and measurement of the largest budget", header, rows, notes)

    def figure(self) -> Figure:
        """Draw error against budget, both logarithmic: dots measured, lines fitted, hollow dots held out.

        All lines end at one budget, where they are compared, and where their names stand.
        """
        pen_of = pens(self.laws)
        with themed():
            figure = new_figure(3.6, width=FIRST_WIDTH)
            axes, ends_of = figure.subplots(), []
            for arm, law in self.laws.items():
                pen, every = pen_of[arm], [one[arm] for one in (*self.by_budget, self.found) if arm in one]
                costs = np.geomspace(min(one.cost for one in every), max(self._costs), 60)
                middles, lows, highs = zip(*(law.predict(cost)[:3] for cost in costs), strict=True)
                errors, upper, lower = (1 - np.array(scores) for scores in (middles, lows, highs))
                axes.plot(costs, errors, color=pen.colour, linestyle=pen.dashes, label=arm)
                axes.fill_between(costs, lower, upper, color=pen.colour, alpha=0.12, linewidth=0)
                ends_of.append((float(errors[-1]), arm, pen.colour))
                for one in every:
                    score, colour = one.score, pen.colour
                    face = PAPER if one is self.found.get(arm) else colour
                    reach = [[score.high - score.estimate], [score.estimate - score.low]]
                    place = one.cost, 1 - score.estimate
                    axes.errorbar(*place, reach, fmt=pen.marker, color=colour, markerfacecolor=face)
            axes.set(xscale="log", yscale="log", ylabel="error (%)")
            axes.set(xlabel=f"budget ({UNITS[self.unit][2]})")
            # Few numbers, as people write them; errors seldom span as much as a factor of two.
            axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
            axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.4g}"))
            axes.yaxis.set_major_locator(MaxNLocator(6))
            axes.yaxis.set_major_formatter(FuncFormatter(percent_tick))
            for axis in (axes.xaxis, axes.yaxis):
                axis.set_minor_locator(NullLocator())
            axes.margins(x=0.02)
            label_lines(axes, ends_of)
        return figure


def shared_steps_table(at: Sequence[Results]) -> list[Table]:
    """Return what each arm took at all budgets together, and what it had taken from its beginning each time.

    No table where no run has begun from another one's state (`pgsbench.training.trunk`).
    """
    rows: dict[str, list[list[float]]] = {}
    for results in at:
        for run in results.study.runs:
            if (one := run.summary) is not None:
                whole = [one.samples, 1e-12 * (one.flops or 0), one.train_seconds]
                shared = one.branch
                less = [shared.samples, 1e-12 * shared.flops, shared.train_seconds] if shared else [0.0] * 3
                rows.setdefault(run.arm, []).append([*whole, *less])
    sums = {arm: np.sum(found, axis=0) for arm, found in rows.items()}
    if not any(sum_[3] for sum_ in sums.values()):
        return []
    header: Header = ["arm"]
    for unit in ("pairs", "TFLOP", "seconds"):
        header += [(unit, _BUDGET), (f"{unit} unshared", _BUDGET)]
    cells = [
        [arm, *(float(cost) or None for k in range(3) for cost in (sum_[k] - sum_[k + 3], sum_[k]))]
        for arm, sum_ in sums.items()
    ]
    notes = [
        "All budgets and seeds together. Unshared: had each budget been trained from its beginning, and not "
        "from where the decay of a shorter one began."
    ]
    return [Table("What the shared steps save", header, cells, notes)]
