"""Differences in a world against those in the reference."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from pgsbench.reporting.statistics.intervals import Interval
from pgsbench.reporting.style import INK, SMALL, Pen, new_figure, pens, themed
from pgsbench.reporting.validity.agreement import ends, number
from pgsbench.reporting.validity.match import Match


def scatter(matches: Sequence[Match], baseline: str) -> Figure:
    """Draw each arm's difference to the baseline in a world against the one in the reference."""
    arms = list(dict.fromkeys(arm for match in matches for arm in match.world.arms))
    pen_of = pens(arms)
    heights: dict[str, float] = {}
    with themed():
        columns = min(2, len(matches))
        rows = -(-len(matches) // columns)
        figure = new_figure(0.3 + 3.2 * rows)
        grid = figure.subplots(rows, columns, squeeze=False).flat
        for match, axes in zip(matches, grid, strict=False):
            axes.axhline(0, color=INK, linewidth=0.8)
            axes.axvline(0, color=INK, linewidth=0.8)
            for arm, (x, y) in match.differences(baseline).items():
                _point(axes, x, y, pen_of[arm])
                heights.setdefault(arm, y.estimate)
            axes.margins(0.12)
            spearman = match.agreement.spearman
            axes.set(
                title=f"Spearman {number(spearman.estimate)} ({ends(spearman)})",
                xlabel=f"points over {baseline} on {match.reference.study}",
                ylabel=f"points over {baseline} on {match.world.study}",
            )
        for axes in grid:
            axes.set_axis_off()
        handles = [
            Line2D([], [], color=pen_of[arm].colour, marker=pen_of[arm].marker, linewidth=0.8, label=arm)
            for arm in sorted(heights, key=lambda arm: -heights[arm])  # as the points lie
        ]
        figure.legend(handles=handles, loc="outside right upper", fontsize=SMALL, frameon=False)
    return figure


def _point(axes: Any, x: Interval, y: Interval, pen: Pen) -> None:
    place = 100 * x.estimate, 100 * y.estimate
    axes.errorbar(*place, xerr=_reach(x), yerr=_reach(y), color=pen.colour, marker=pen.marker, elinewidth=0.8)


def _reach(one: Interval) -> list[list[float]] | None:
    if not math.isfinite(one.low):
        return None
    return [[100 * (one.estimate - one.low)], [100 * (one.high - one.estimate)]]
