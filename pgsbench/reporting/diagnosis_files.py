"""What ``pgsbench masks diagnose`` leaves on disk: its numbers as CSV, and one figure."""

from __future__ import annotations

import csv
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from pgsbench.reporting.diagnosis import Diagnosis
from pgsbench.reporting.style import LIGHT, PAGE_WIDTH, Theme, new_figure, pens, save, themed

_COLUMNS = 8

#: What the lower left panel compares, where it is known: key of `MaskFindings.values` -> (label, marker).
_SHARES = {
    "top_edges": ("strongest edges shown", "^"),
    "insides_kept": ("object insides shown", "o"),
    "outlines_kept": ("object outlines shown", "s"),
    "objects_nearly_gone": ("object nearly gone", "X"),
}


def write(diagnosis: Diagnosis, folder: Path) -> list[Path]:
    """Write CSV files with unrounded numbers and the figure ``masks.png``; returns what was written."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for name, rows in _csv_files(diagnosis):
        paths.append(folder / f"{name}.csv")
        with paths[-1].open("w", newline="", encoding="utf-8") as file:
            csv.writer(file, lineterminator="\n").writerows(rows)
    return [*paths, save(diagnosis_figure(diagnosis), folder / "masks.png")]


def diagnosis_figure(diagnosis: Diagnosis, *, theme: Theme = LIGHT) -> Figure:
    """Draw a histogram and a keep-rate map for each strategy, what is shown of objects, and agreement.

    Args:
        diagnosis: What was measured.
        theme: Colours.
    """
    names = list(diagnosis.findings)
    columns = min(_COLUMNS, max(4, len(names)))
    lines = -(-len(names) // columns)
    side = PAGE_WIDTH / columns
    heights = [lines * (side + 1.15), max(2.4, 1.1 + 0.2 * len(names))]
    with themed(theme):
        figure = new_figure(sum(heights))
        upper, lower = figure.subfigures(2, 1, height_ratios=heights)
        _draw_strategies(upper, diagnosis, lines, columns, theme)
        left, right = lower.subplots(1, 2, width_ratios=(1.0, 1.0))
        _draw_shares(left, diagnosis, theme)
        _draw_agreement(right, names, diagnosis.agreement, theme)
    return figure


def _csv_files(diagnosis: Diagnosis) -> Iterator[tuple[str, list[list[object]]]]:
    findings = diagnosis.findings
    keys = list(dict.fromkeys(key for each in findings.values() for key in each.values))
    yield (
        "masks",
        [
            ["strategy", *keys],
            *([name, *(each.values.get(key, "") for key in keys)] for name, each in findings.items()),
        ],
    )
    pairs = zip(findings, diagnosis.agreement, strict=True)
    yield "agreement", [["strategy", *findings], *([name, *map(float, row)] for name, row in pairs)]
    places = (
        [name, row, col, float(rate)]
        for name, each in findings.items()
        for (row, col), rate in np.ndenumerate(each.keep_rate)
    )
    yield "keep-rate", [["strategy", "row", "col", "keep_rate"], *places]
    counted = (
        [name, float(ratio), int(count)]
        for name, each in findings.items()
        for ratio, count in zip(*np.unique(each.effective_ratio.round(6), return_counts=True), strict=True)
    )
    yield "effective-ratio", [["strategy", "effective_ratio", "num_masks"], *counted]


def _draw_strategies(figure: Any, diagnosis: Diagnosis, lines: int, columns: int, theme: Theme) -> None:
    names = list(diagnosis.findings)
    panels = figure.subplots(2 * lines, columns, squeeze=False, height_ratios=[0.75, 1.0] * lines)
    rates = {name: each.keep_rate - each.keep_rate.mean() for name, each in diagnosis.findings.items()}
    limit = max(0.05, *(float(np.abs(rate).max()) for rate in rates.values()))
    drawn: Any = None
    maps = []
    for index in range(lines * columns):
        line, column = divmod(index, columns)
        above, below = panels[2 * line][column], panels[2 * line + 1][column]
        if index >= len(names):
            above.set_axis_off()
            below.set_axis_off()
            continue
        name = names[index]
        colour = pens(names, theme)[name].colour
        ratio = diagnosis.findings[name].effective_ratio
        above.hist(
            100 * ratio,
            bins=np.linspace(0, 100, 26),
            color=colour,
            weights=np.full(len(ratio), 1 / len(ratio)),
        )
        above.set(xlim=(0, 100), ylim=(0, 1), xticks=[0, 50, 100], yticks=[])
        above.tick_params(labelsize=6, pad=1)
        above.spines["left"].set_visible(False)
        above.set_title(
            f"{textwrap.fill(name, 13)}\n{100 * ratio.mean():.0f} % masked", fontsize=7, color=theme.ink
        )
        drawn = below.imshow(100 * rates[name], cmap="RdBu", vmin=-100 * limit, vmax=100 * limit)
        _bare(below)
        maps.append(below)
    panels[0][0].set_ylabel("pictures", fontsize=7)
    panels[1][0].set_ylabel("shown more\nor less often", fontsize=7)
    bar = figure.colorbar(drawn, ax=panels, location="right", fraction=0.015, pad=0.01, aspect=30)
    bar.set_label("points above the mask's mean", fontsize=6.5)
    bar.ax.tick_params(labelsize=6)
    bar.outline.set_visible(False)


def _draw_shares(axes: Any, diagnosis: Diagnosis, theme: Theme) -> None:
    names = list(diagnosis.findings)
    places = np.arange(len(names))
    known = [key for key in _SHARES if any(key in each.values for each in diagnosis.findings.values())]
    for key, colour in zip(known, theme.palette, strict=False):
        label, marker = _SHARES[key]
        values = [100 * diagnosis.findings[name].values.get(key, np.nan) for name in names]
        axes.plot(values, places, marker=marker, color=colour, linestyle="none", label=label, markersize=4.5)
    axes.set(xlim=(-3, 103), ylim=(len(names) - 0.5, -0.5), xlabel="share of patches, or of pictures (%)")
    axes.set_yticks(places, names, fontsize=7)
    axes.grid(axis="x", visible=False)
    axes.tick_params(axis="y", length=0)
    axes.legend(
        loc="lower center", bbox_to_anchor=(0.4, 1.0), ncols=2, fontsize=6.5, handletextpad=0.2,
        columnspacing=1.0,
    )  # fmt: skip


def _draw_agreement(axes: Any, names: list[str], agreement: NDArray[np.float64], theme: Theme) -> None:
    axes.imshow(agreement, cmap="Blues", vmin=0.0, vmax=1.0)
    for (row, col), value in np.ndenumerate(agreement):
        ink = "white" if value > 0.6 else theme.ink
        axes.text(col, row, f"{100 * value:.0f}", ha="center", va="center", fontsize=6.5, color=ink)
    _bare(axes)
    axes.set_xticks(range(len(names)), names, fontsize=7, rotation=45, ha="right", rotation_mode="anchor")
    axes.set_yticks(range(len(names)), names, fontsize=7)
    axes.tick_params(length=0)
    axes.set_title("agreement between two seeds\n(IoU, %)", fontsize=8)


def _bare(axes: Any) -> None:
    axes.set(xticks=[], yticks=[])
    axes.grid(visible=False)
    axes.spines[:].set_visible(False)
