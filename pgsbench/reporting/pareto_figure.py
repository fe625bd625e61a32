"""The figure of score against cost, with its Pareto front."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from pgsbench.reporting.pareto import TIME, Cost, Point, costs_of, points_of
from pgsbench.reporting.results import Results
from pgsbench.reporting.style import INK, PAPER, SMALL, new_figure, pens, percent_tick, themed

#: Up to this many points all carry their searched values; of more only those on the front do.
MAX_NAMED = 14

#: Where an arm's points carry their text, so that neighbours do not write over each other.
_CORNERS = ((1, 1), (-1, -1), (1, -1), (-1, 1))


def accuracy_cost(results: Results) -> Figure | None:
    """Score against two costs (`costs_of`): one point per label with its 95 % interval.

    Points on the Pareto front are filled and joined. A cost that is not known, or the same for all, has no
    panel; None where there is no panel.
    """
    found = {cost: points for cost in costs_of(results) if (points := points_of(results, cost))}
    if not found:
        return None
    with themed():
        num_arms = len({one.arm for points in found.values() for one in points})
        figure = new_figure(max(3.3, 0.21 * num_arms + 0.1))  # room for the legend
        panels = figure.subplots(1, len(found), squeeze=False, sharey=True).flat
        for axes, (cost, points) in zip(panels, found.items(), strict=True):
            unit, scale = _unit(cost, points[-1].cost)
            _front_line(axes, points, scale)
            _draw(axes, results, points, scale)
            axes.margins(x=0.26)  # room for the text beside the outermost points
            axes.set(xlabel=f"{cost.axis}{unit}")
            axes.yaxis.set_major_formatter(FuncFormatter(percent_tick))
        figure.axes[0].set(ylabel=f"{results.scope} (%)")
        handles, names = figure.axes[0].get_legend_handles_labels()
        figure.legend(handles, names, loc="outside right upper")
    return figure


def _draw(axes: Any, results: Results, points: list[Point], scale: float) -> None:
    pen_of = pens(results.study.arms)
    named: set[str] = set()
    text_look: dict[str, Any] = {"textcoords": "offset points", "fontsize": SMALL, "va": "center"}
    for one in sorted(points, key=lambda one: results.study.labels.index(one.label)):
        pen, x = pen_of[one.arm], one.cost / scale
        axes.errorbar(
            x,
            one.mean.estimate,
            yerr=[[one.mean.estimate - one.mean.low], [one.mean.high - one.mean.estimate]],
            color=pen.colour,
            marker=pen.marker,
            markerfacecolor=pen.colour if one.is_on_front else PAPER,
            linestyle="none",
            elinewidth=0.9,
            label=None if one.arm in named else one.arm,
        )
        named.add(one.arm)
        values = results.params_of(one.label).values()
        if values and (one.is_on_front or len(points) <= MAX_NAMED):
            text = ", ".join(f"{v:.3g}" if isinstance(v, float) else str(v) for v in values)
            side, height = _CORNERS[results.study.arms.index(one.arm) % len(_CORNERS)]
            place = {"xytext": (5 * side, 6 * height), "ha": "left" if side > 0 else "right"}
            axes.annotate(text, (x, one.mean.estimate), color=pen.colour, **place, **text_look)


def _front_line(axes: Any, points: list[Point], scale: float) -> None:
    front = [one for one in points if one.is_on_front]
    if not front:  # all points are the oracle's
        return
    front = [*front, replace(front[-1], cost=points[-1].cost)]  # which nothing dearer beats
    x, y = [one.cost / scale for one in front], [one.mean.estimate for one in front]
    axes.step(x, y, where="post", color=INK, linewidth=0.8, alpha=0.6, zorder=1)


def _unit(cost: Cost, largest: float) -> tuple[str, float]:
    if cost is not TIME:
        return "", cost.unit
    if largest < 300:
        return " (seconds)", 1.0
    return (" (minutes)", 60.0) if largest < 3 * 3600 else (" (hours)", 3600.0)
