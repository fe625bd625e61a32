"""A study at several budgets: how errors fall, prediction beside measurement, where curves cross."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

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
class Predicted:
    """A score that was not measured, with its 95 % interval."""

    score: float
    low: float
    high: float


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

    def predict(self, budget: float) -> Predicted:
        """Return the score that a new run at a budget would have; the interval is for that measurement."""
        at = np.array([np.log(budget), 1.0])
        middle = self.slope * at[0] + self.intercept
        reach = _t(self.df) * float(np.sqrt(self.residual + at @ self.covariance @ at))
        score, low, high = (max(0.0, 1 - float(np.exp(middle + shift))) for shift in (0.0, reach, -reach))
        return Predicted(score, low, high)


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


def fits(by_budget: Sequence[Mapping[str, Measured]]) -> dict[str, PowerLaw]:
    """Return the power law of each arm that was measured at every budget."""
    laws = {}
    for arm in by_budget[0]:
        found = [one[arm] for one in by_budget if arm in one]
        if len(found) == len(by_budget):
            columns = zip(*((one.cost, one.score.estimate, one.error) for one in found), strict=True)
            laws[arm] = PowerLaw.fit(*columns)
    return laws


_EXPONENT = Format(lambda slope: f"{slope:.3f}".replace("-", "−"))
_BUDGET = Format(three_digits)
#: Title of the table of predictions.
HELD_OUT = "Prediction and measurement of the largest budget"


def fits_table(laws: Mapping[str, PowerLaw], by_budget: Sequence[Mapping[str, Measured]], unit: str) -> Table:
    """Return how fast each arm's error falls, and where the first arm's curve meets the others'."""
    costs = [one[arm].cost for one in by_budget for arm in laws]
    least, most = min(costs) / FAR, max(costs) * FAR
    first = next(iter(laws))
    rows: list[list[object]] = []
    for arm, law in laws.items():
        reach = _t(law.df) * float(np.sqrt(law.covariance[0, 0]))
        meets = crossing(laws[first], law) or 0.0
        told = "" if arm == first else meets if least <= meets <= most else "nowhere near"
        rows.append([arm, Estimate(law.slope, law.slope - reach, law.slope + reach), told])
    notes = [
        "Error = 1 − score on the headline, a power law of the budget, least squares on logarithms, 95 % t "
        f"intervals. Crossing: the budget ({UNITS[unit][2]}) at which the fits of {first} and the arm meet, "
        f"looked for within {FAR:g} times what was measured."
    ]
    header: Header = ["arm", ("exponent", _EXPONENT), ("crossing", _BUDGET)]
    return Table("How the error falls with the budget", header, rows, notes)


def scale_answer(
    laws: Mapping[str, PowerLaw],
    by_budget: Sequence[Mapping[str, Measured]],
    predicted: Mapping[str, tuple[float, Predicted]],
    found: Mapping[str, Measured],
    unit: str,
) -> str:
    """Return whether the lead holds as the budget grows, and whether the prediction did, if one was made."""
    every = [*by_budget, *([found] if found else [])]
    leaders = [max(laws.keys() & one.keys(), key=lambda arm: one[arm].score.estimate) for one in every]
    costs = [one[arm].cost for one in every for arm in laws if arm in one]
    first, last = leaders[0], leaders[-1]
    meets = crossing(laws[first], laws[last]) or 0.0 if first != last else 0.0
    at = f"{_BUDGET.text(meets)} {UNITS[unit][2]}" if min(costs) / FAR <= meets <= FAR * max(costs) else ""
    held = [
        predicted[arm][1].low <= one.score.estimate <= predicted[arm][1].high
        for arm, one in found.items()
        if arm in predicted
    ]
    return words.as_budgets_grow(leaders, list(laws), at, all(held) if held else None)


def held_out_table(
    predicted: Mapping[str, tuple[float, Predicted]], found: Mapping[str, Measured], unit: str
) -> Table:
    """Return prediction beside measurement at the budget that was held out.

    Args:
        predicted: Arm -> budget and score, as predicted before the measurement.
        found: Arm -> what was measured.
        unit: A key of `UNITS`.
    """
    rows: list[list[object]] = []
    for arm, (cost, guess) in predicted.items():
        seen = found[arm].score if arm in found else None
        held = None if seen is None else "yes" if guess.low <= seen.estimate <= guess.high else "no"
        rows.append([arm, cost, Estimate(guess.score, guess.low, guess.high), seen, held])
    numbers = [(UNITS[unit][2], _BUDGET), ("predicted", PERCENT), ("measured", PERCENT)]
    header: Header = ["arm", *numbers, "in the interval"]
    notes = ["Percent, 95 % intervals. The prediction was written down before the budget was trained."]
    return Table(HELD_OUT, header, rows, notes)


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


def scale_figure(
    by_budget: Sequence[Mapping[str, Measured]],
    laws: Mapping[str, PowerLaw],
    held_out: Mapping[str, Measured],
    unit: str,
) -> Figure:
    """Draw error against budget, both logarithmic: dots measured, lines fitted, hollow dots held out."""
    pen_of = pens(laws)
    # All lines end at one budget, where they are compared, and where their names stand.
    largest = max(one[arm].cost for one in (*by_budget, held_out) for arm in laws if arm in one)
    with themed():
        figure = new_figure(3.6, width=FIRST_WIDTH)
        axes, ends_of = figure.subplots(), []
        for arm, law in laws.items():
            pen, every = pen_of[arm], [one[arm] for one in (*by_budget, held_out) if arm in one]
            costs = np.geomspace(min(one.cost for one in every), largest, 60)
            guesses = [law.predict(cost) for cost in costs]
            errors = [1 - guess.score for guess in guesses]
            axes.plot(costs, errors, color=pen.colour, linestyle=pen.dashes, label=arm)
            ends_of.append((errors[-1], arm, pen.colour))
            ends = [1 - guess.high for guess in guesses], [1 - guess.low for guess in guesses]
            axes.fill_between(costs, *ends, color=pen.colour, alpha=0.12, linewidth=0)
            for one in every:
                score, colour = one.score, pen.colour
                face = PAPER if one is held_out.get(arm) else colour
                place = one.cost, 1 - score.estimate
                reach = [[score.high - score.estimate], [score.estimate - score.low]]
                axes.errorbar(*place, reach, fmt=pen.marker, color=colour, markerfacecolor=face)
        axes.set(xscale="log", yscale="log", xlabel=f"budget ({UNITS[unit][2]})", ylabel="error (%)")
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
