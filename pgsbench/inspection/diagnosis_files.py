"""What ``pgsbench masks diagnose`` leaves on disk: its numbers as CSV, and one figure."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from numpy.typing import NDArray

from pgsbench.colours import PALETTE
from pgsbench.inspection.diagnosis import Diagnosis, MaskNumbers
from pgsbench.reporting.style import INK, PAGE_WIDTH, new_figure, pens, save, themed

_COLUMNS = 8

#: What the lower left panel compares, where it is known: key of `MaskNumbers.values` -> (label, marker).
_SHARES = {
    "top_edges": ("strongest edges shown", "^"),
    "insides_kept": ("object insides shown", "o"),
    "outlines_kept": ("object outlines shown", "s"),
    "objects_nearly_gone": ("object nearly gone", "X"),
}


def write(diagnosis: Diagnosis, folder: Path) -> list[Path]:
    """Write CSV files with unrounded numbers and the figure ``masks.png``; returns what was written."""
    folder.mkdir(parents=True, exist_ok=True)
    names = list(diagnosis.numbers)
    rows = [{"strategy": name, **each.values} for name, each in diagnosis.numbers.items()]
    agreement = pd.DataFrame(diagnosis.agreement, columns=names)
    agreement.insert(0, "strategy", names)
    pd.DataFrame(rows).to_csv(folder / "masks.csv", index=False)
    agreement.to_csv(folder / "agreement.csv", index=False)
    figure = save(diagnosis_figure(diagnosis), folder / "masks.png")
    return [folder / "masks.csv", folder / "agreement.csv", figure]


def diagnosis_figure(diagnosis: Diagnosis) -> Figure:
    """Draw a histogram and a keep-rate map for each strategy, what is shown of objects, and agreement."""
    names = list(diagnosis.numbers)
    lines = max(1, -(-len(names) // _COLUMNS))
    columns = max(4, -(-len(names) // lines))  # as many in each line
    side = PAGE_WIDTH / columns
    heights = [lines * (side + 1.15), max(2.4, 1.1 + 0.2 * len(names))]
    with themed():
        figure = new_figure(sum(heights))
        parts: Any = figure.subfigures(2, 1, height_ratios=heights)
        upper, lower = parts
        _draw_strategies(upper, diagnosis.numbers, columns)
        left, right = lower.subplots(1, 2, width_ratios=(1.0, 1.0))
        _draw_shares(left, diagnosis)
        _draw_agreement(right, names, diagnosis.agreement)
    return figure


def _draw_strategies(figure: Any, findings: Mapping[str, MaskNumbers], columns: int) -> None:
    """Draw for each strategy its histogram of effective ratios, and below it where it shows patches."""
    lines = -(-len(findings) // columns)
    panels = figure.subplots(2 * lines, columns, squeeze=False, height_ratios=[0.75, 1.0] * lines)
    for axes in panels.flat:
        axes.set_axis_off()
    bias = {name: 100 * (each.keep_rate - each.keep_rate.mean()) for name, each in findings.items()}
    limit = max(5.0, *(float(np.abs(points).max()) for points in bias.values()))
    pen_of = pens(findings)
    drawn: Any = None
    for index, (name, each) in enumerate(findings.items()):
        above, below = panels[2 * (index // columns) : 2 * (index // columns) + 2, index % columns]
        above.set_axis_on()
        above.hist(100 * each.effective_ratio, bins=np.linspace(0, 100, 26), color=pen_of[name].colour)
        above.set(xlim=(0, 100), xticks=[0, 50, 100], yticks=[])
        above.tick_params(labelsize=6, pad=1)
        above.spines["left"].set_visible(False)
        mean = f"{100 * each.effective_ratio.mean():.0f} % masked"
        above.set_title(f"{textwrap.fill(name, 13)}\n{mean}", fontsize=7)
        below.set_axis_on()
        drawn = below.imshow(bias[name], cmap="RdBu", vmin=-limit, vmax=limit)
        _bare(below)
    panels[0][0].set_ylabel("pictures", fontsize=7)
    panels[1][0].set_ylabel("shown more\nor less often", fontsize=7)
    bar = figure.colorbar(drawn, ax=panels, location="right", fraction=0.015, pad=0.01, aspect=30)
    bar.set_label("points above the mask's mean", fontsize=6.5)
    bar.ax.tick_params(labelsize=6)
    bar.outline.set_visible(False)


def _draw_shares(axes: Any, diagnosis: Diagnosis) -> None:
    names = list(diagnosis.numbers)
    places = np.arange(len(names))
    known = [key for key in _SHARES if any(key in each.values for each in diagnosis.numbers.values())]
    for key, colour in zip(known, PALETTE, strict=False):
        label, marker = _SHARES[key]
        values = [100 * diagnosis.numbers[name].values.get(key, np.nan) for name in names]
        axes.plot(values, places, marker=marker, color=colour, linestyle="none", label=label, markersize=4.5)
    axes.set(xlim=(-3, 103), ylim=(len(names) - 0.5, -0.5), xlabel="share of patches, or of pictures (%)")
    axes.xaxis.label.set_fontsize(7.5)
    axes.set_yticks(places, names, fontsize=7)
    axes.grid(axis="x", visible=False)
    axes.tick_params(axis="y", length=0)
    look = {"fontsize": 6.5, "handletextpad": 0.2, "columnspacing": 1.0}
    axes.legend(loc="lower center", bbox_to_anchor=(0.4, 1.0), ncols=2, **look)


def _draw_agreement(axes: Any, names: list[str], agreement: NDArray[np.float64]) -> None:
    axes.imshow(agreement, cmap="Blues", vmin=0.0, vmax=1.0)
    for (row, col), value in np.ndenumerate(agreement):
        ink = "white" if value > 0.6 else INK
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
