"""The report of a study at several budgets: fits, prediction beside measurement, where curves cross."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, Locator, LogLocator, MaxNLocator, NullLocator
from scipy import stats

from pgsbench.reporting.columns import Row, rows_of
from pgsbench.reporting.render import PERCENT, Estimate, Format, Header, Table, and_, percent
from pgsbench.reporting.results import Results
from pgsbench.reporting.scale.fit import PowerLaw, Predicted, crossing
from pgsbench.reporting.statistics.comparison import Missing
from pgsbench.reporting.statistics.intervals import LEVEL, Interval
from pgsbench.reporting.style import INK, PAPER, new_figure, pens, percent_tick, themed

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
        return half / float(stats.t.ppf((1 + LEVEL) / 2, self.score.df))


def measured(results: Results, unit: str) -> dict[str, Measured]:
    """Return what each arm cost and scored at one budget; arms without results are left out."""
    cost_of, factor, _ = UNITS[unit]
    headline, found = next(iter(results.groups), ""), {}
    for label, row in rows_of(results).items():
        score, cost = results.mean(label, headline) if headline else Missing(""), cost_of(row)
        if isinstance(score, Interval) and cost:
            found[label] = Measured(cost * factor, score)
    return found


def fits(by_budget: Sequence[Mapping[str, Measured]]) -> dict[str, PowerLaw]:
    """Return the power law of each arm that was measured at every budget."""
    arms = [arm for arm in by_budget[0] if all(arm in one for one in by_budget)]
    return {
        arm: PowerLaw.fit(
            [one[arm].cost for one in by_budget],
            [one[arm].score.estimate for one in by_budget],
            [one[arm].error for one in by_budget],
        )
        for arm in arms
    }


_EXPONENT = Format(lambda slope: f"{slope:.3f}".replace("-", "−"))
_BUDGET = Format("{:,.3g}")


def fits_table(laws: Mapping[str, PowerLaw], by_budget: Sequence[Mapping[str, Measured]], unit: str) -> Table:
    """Return how fast each arm's error falls, and where the first arm's curve meets the others'."""
    costs = [one[arm].cost for one in by_budget for arm in laws]
    least, most = min(costs) / FAR, max(costs) * FAR
    first, rows = next(iter(laws), ""), []
    for arm, law in laws.items():
        reach = float(stats.t.ppf((1 + LEVEL) / 2, law.df)) * float(np.sqrt(law.covariance[1, 1]))
        slope = Estimate(law.slope, law.slope - reach, law.slope + reach)
        meets = None if arm == first else crossing(laws[first], law)
        is_near = meets is not None and least <= meets <= most
        rows.append([arm, slope, "" if arm == first else meets if is_near else "nowhere near"])
    notes = [
        "Error = 1 − score on the headline, a power law of the budget, least squares on logarithms, 95 % t "
        f"intervals. Crossing: the budget ({UNITS[unit][2]}) at which the fits of {first} and the arm meet, "
        f"looked for within {FAR:g} times what was measured."
    ]
    return Table(
        "How the error falls with the budget",
        ["arm", ("exponent", _EXPONENT), ("crossing", _BUDGET)],
        rows,
        notes,
    )


def scale_answer(
    laws: Mapping[str, PowerLaw],
    predicted: Mapping[str, tuple[float, Predicted]],
    found: Mapping[str, Measured],
) -> str:
    """Return what a study says at several budgets; nothing is predicted where none is held out."""
    both = {arm: (predicted[arm][1], found[arm].score.estimate) for arm in predicted if arm in found}
    if not both:
        falls = and_([f"{arm} {law.slope:.3f}".replace("-", "−") for arm, law in laws.items()])
        return f"Error falls with the budget to the power of {falls}."
    held = sum(guess.low <= score <= guess.high for guess, score in both.values())
    beside = and_(
        [
            f"{arm} {percent(score)} ({percent(guess.score)}, {percent(guess.low)} to {percent(guess.high)})"
            for arm, (guess, score) in both.items()
        ]
    )
    verb = "held" if held == len(both) else "failed" if not held else f"held for {held} of {len(both)} arms"
    return f"The prediction {verb}; measured, and foretold in brackets: {beside}."


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
    return Table("Held out", header, rows, notes)


def scale_figure(
    by_budget: Sequence[Mapping[str, Measured]],
    laws: Mapping[str, PowerLaw],
    held_out: Mapping[str, Measured],
    unit: str,
) -> Figure:
    """Draw error against budget, both logarithmic: dots measured, lines fitted, hollow dots held out."""
    with themed():
        figure = new_figure(3.6)
        axes = figure.subplots()
        drawn = pens(laws)
        for arm, law in laws.items():
            pen = drawn[arm]
            seen = [one[arm] for one in by_budget]
            every = [*seen, *([held_out[arm]] if arm in held_out else [])]
            costs = np.geomspace(min(one.cost for one in every), max(one.cost for one in every), 60)
            guesses = [law.predict(cost) for cost in costs]
            axes.plot(
                costs, [1 - g.score for g in guesses], color=pen.colour, linestyle=pen.dashes, label=arm
            )
            ends = [1 - g.high for g in guesses], [1 - g.low for g in guesses]
            axes.fill_between(costs, *ends, color=pen.colour, alpha=0.12, linewidth=0)
            for one in every:
                score = one.score
                reach = [[score.high - score.estimate], [score.estimate - score.low]]
                face = PAPER if one is held_out.get(arm) else pen.colour
                axes.errorbar(
                    one.cost,
                    1 - score.estimate,
                    reach,
                    color=pen.colour,
                    marker=pen.marker,
                    markerfacecolor=face,
                    linestyle="",
                )
        axes.set(xscale="log", yscale="log", xlabel=UNITS[unit][2], ylabel="error (%)")
        _plain(axes.xaxis, LogLocator(subs=(1, 2, 5)), lambda value, _: f"{value:,.4g}")
        _plain(axes.yaxis, MaxNLocator(6), percent_tick)  # errors seldom span as much as a factor of two
        if held_out:
            (hollow,) = axes.plot([], [], color=INK, label="held out", marker="o", linestyle="")
            hollow.set_markerfacecolor(PAPER)
        axes.legend()
    return figure


def _plain(axis: Any, places: Locator, write: Callable[[float, int], str]) -> None:
    """Mark a logarithmic axis at few numbers, written as people write them."""
    axis.set_major_locator(places)
    axis.set_major_formatter(FuncFormatter(write))
    axis.set_minor_locator(NullLocator())
