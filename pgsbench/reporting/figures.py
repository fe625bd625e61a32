"""The figures of a report: loss, ratio and accuracy, differences, masks; and the list of all."""

from __future__ import annotations

import textwrap
from collections.abc import Callable
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from pgsbench.reporting.decision.comparisons import group_comparisons
from pgsbench.reporting.gallery import ShownSelection, mask_gallery
from pgsbench.reporting.pareto_figure import accuracy_cost
from pgsbench.reporting.results import Results
from pgsbench.reporting.search.where import gain_map
from pgsbench.reporting.statistics.comparison import ONE_RUN, Comparison, Missing
from pgsbench.reporting.statistics.intervals import Interval
from pgsbench.reporting.study_frames import Gallery, StudyFrames
from pgsbench.reporting.style import INK, PAPER, SMALL, label_pens, new_figure, pens, percent_tick, themed

#: Up to this many labels have each its own colour; more are coloured by arm.
MAX_APART = 7
#: Pictures in the gallery of masks.
MASK_IMAGES = 3


def loss_curves(study: StudyFrames) -> Figure | None:
    """Training loss against pairs seen: one line per label (mean over seeds), thin lines for single seeds.

    Of more than `MAX_APART` labels the points of an arm look alike, without single seeds. None where there is
    no curve.
    """
    curves = study.curves
    if "loss" not in curves or "samples" not in curves or curves["loss"].notna().sum() < 2:
        return None
    apart = len(study.labels) <= MAX_APART
    with themed():
        figure = new_figure(3.2)
        axes = figure.subplots()
        pen_of = label_pens(study.arm_of) if apart else pens(study.arms)
        for label in study.labels:
            mine = curves[curves["label"] == label].dropna(subset=["loss"])
            name = label if apart else study.of(label)[0].arm
            pen, known = pen_of[name], axes.get_legend_handles_labels()[1]
            for _, run in mine.groupby("seed") if apart else ():
                axes.plot(run["samples"], _smooth(run["loss"]), color=pen.colour, alpha=0.3, linewidth=0.6)
            mean = mine.groupby("samples")["loss"].mean()
            look: dict[str, Any] = {
                "linewidth": 1.5 if apart else 0.9,
                "label": None if name in known else name,
            }
            axes.plot(mean.index, _smooth(mean), color=pen.colour, linestyle=pen.dashes, **look)
        axes.set(xlabel="training pairs seen", ylabel="contrastive loss")
        axes.xaxis.set_major_formatter(FuncFormatter(_thousands))
        figure.legend(loc="outside right upper")
    return figure


def ratio_accuracy(results: Results) -> Figure | None:
    """Score against mask ratio: one panel per group, one line per arm with its 95 % band.

    Unmasked arms are horizontal reference lines. None where no arm was trained at two ratios.
    """
    ratios = {label: _mask_ratio(results, label) for label in results.study.labels}
    by_arm: dict[str, list[tuple[float, str]]] = {}
    for label, ratio in ratios.items():
        if ratio is not None:
            by_arm.setdefault(results.study.of(label)[0].arm, []).append((ratio, label))
    lines = {arm: sorted(points) for arm, points in by_arm.items() if len({ratio for ratio, _ in points}) > 1}
    references = {
        arm: points[0][1] for arm, points in by_arm.items() if {ratio for ratio, _ in points} == {0.0}
    }
    ticks = sorted({ratio for points in lines.values() for ratio, _ in points})
    groups = list(results.groups)
    if not lines or not groups:
        return None
    with themed():
        figure, panels = _panels(len(groups), lambda rows: 0.6 + 2.3 * rows)
        for group, axes in zip(groups, panels, strict=True):
            for name, pen in pens(results.study.arms).items():
                if name in references:
                    _reference_line(axes, results.mean(references[name], group), name, pen.colour)
                elif name in lines:
                    _band(axes, [(x, results.mean(label, group)) for x, label in lines[name]], name, pen)
            axes.set_title(group)
            axes.set_xticks(ticks, [f"{100 * tick:g} %" for tick in ticks])
            axes.yaxis.set_major_formatter(FuncFormatter(percent_tick))
        figure.supxlabel("mask ratio")
        figure.supylabel("score (%)")
        handles, names = figure.axes[0].get_legend_handles_labels()
        figure.legend(handles, names, loc="outside upper center", ncols=min(6, len(names)))
    return figure


def forest(results: Results) -> Figure | None:
    """Differences with their intervals, one panel per pair; filled where better or worse.

    Such a one has the colour of the arm that is better. None where nothing could be compared.
    """
    comparisons = group_comparisons(results)
    pen_of = pens(results.study.arms)
    pairs = list(dict.fromkeys(one.pair for one in comparisons))
    if not any(isinstance(one.interval, Interval) for one in comparisons):
        return None
    scopes = list(dict.fromkeys(one.of for one in comparisons))
    with themed():
        lines = max(len(textwrap.wrap(pair, 22)) for pair in pairs)
        height = 0.3 + 0.17 * lines + 0.25 * len(scopes)
        figure, panels = _panels(len(pairs), lambda rows: 0.5 + rows * height, sharex=True, sharey=True)
        for pair, axes in zip(pairs, panels, strict=True):
            axes.axvline(0, color=INK, linewidth=0.8)
            for one in (one for one in comparisons if one.pair == pair):
                better = {"better": one.candidate, "worse": one.baseline}.get(one.outcome)
                colour = pen_of[results.study.arm_of[better]].colour if better else None
                _whisker(axes, one, scopes.index(one.of), colour)
            axes.set_title(textwrap.fill(pair, 22))
            axes.tick_params(labelbottom=True)
        first = figure.axes[0]
        first.set_yticks(range(len(scopes)), scopes)
        first.set_ylim(len(scopes) - 0.4, -0.6)
        for axes in figure.axes:
            axes.grid(axis="y", visible=False)
        runs = f"{ONE_RUN}: " if any(one.has_one_seed for one in comparisons) else ""
        figure.supxlabel(f"{runs}difference in points, 95 % interval (filled: better or worse)")
    return figure


def masks(results: Results) -> Figure | None:
    """What the mask of each arm shows of the same training pictures. None where no run kept any.

    Of an arm with several searched points it is the one of the comparison (`Results.best_of`).
    """
    first: Gallery | None = None
    shown: dict[str, ShownSelection] = {}
    for arm in results.study.arms:
        runs = results.study.of(results.best_of[arm])
        found = next((g for run in runs if (g := run.gallery)), None)
        first = first or found
        # The pictures are the same for all arms trained on the same data; another one's do not belong here.
        if found is not None and first is not None and np.array_equal(found.images, first.images):
            seen = None if found.seen is None else found.seen[:MASK_IMAGES]
            shown[arm] = ShownSelection(found.shown[:MASK_IMAGES], seen=seen, tokens=found.tokens)
    if first is None or all(one.seen is None and one.shown.all() for one in shown.values()):
        return None
    colours = {arm: pen.colour for arm, pen in pens(results.study.arms).items()}
    pictures = first.images[:MASK_IMAGES]
    return mask_gallery(pictures, shown, grid=first.grid, colours=colours)


# ------------------------------------------------------------------------------------------------ parts


def _panels(number: int, height: Callable[[int], float], **shared: Any) -> tuple[Figure, list[Any]]:
    """Return a figure, as high as `height` says of the number of its rows, and panels, three in a row."""
    columns = min(3, number)
    rows = -(-number // columns)
    figure = new_figure(height(rows))
    panels = list(figure.subplots(rows, columns, squeeze=False, **shared).flat)
    for axes in panels[number:]:
        axes.set_axis_off()
    return figure, panels[:number]


def _band(axes: Any, found: list[tuple[float, Interval | Missing]], name: str, pen: Any) -> None:
    points = [(x, mean) for x, mean in found if isinstance(mean, Interval)]
    x = [ratio for ratio, _ in points]
    axes.fill_between(
        x, [m.low for _, m in points], [m.high for _, m in points], color=pen.colour, alpha=0.15, linewidth=0
    )
    y = [m.estimate for _, m in points]
    axes.plot(x, y, color=pen.colour, linestyle=pen.dashes, marker=pen.marker, label=name)


def _reference_line(axes: Any, mean: Interval | Missing, name: str, colour: str) -> None:
    if isinstance(mean, Interval):
        axes.axhline(mean.estimate, color=colour, linestyle=":", linewidth=1.2, label=f"{name} (unmasked)")


def _whisker(axes: Any, one: Comparison, row: int, better: str | None) -> None:
    if isinstance(one.interval, Missing):
        axes.text(0, row, " missing", va="center", fontsize=SMALL, color=INK, style="italic")
        return
    colour, middle = better or INK, 100 * one.interval.estimate
    axes.plot([100 * one.interval.low, 100 * one.interval.high], [row, row], color=colour, linewidth=1.3)
    axes.plot(middle, row, marker="o", color=colour, markersize=5, markerfacecolor=better or PAPER)


def _mask_ratio(results: Results, label: str) -> float | None:
    run = results.study.of(label)[0]
    strategy = run.spec.config.strategy
    if strategy.name == "none":
        return 0.0
    ratio = strategy.fields.get("mask_ratio", run.summary and run.summary.mask_ratio_effective)
    return None if ratio is None else float(ratio)


def _smooth(values: Any, window: int = 5) -> Any:
    return values.rolling(window, min_periods=1, center=True).mean()


def _thousands(value: float, _: int) -> str:
    return f"{value / 1e6:g} M" if value >= 1e6 else f"{value / 1e3:g} k" if value else "0"


#: Name of the file -> what draws it from the results of a study.
ALL: dict[str, Callable[..., Figure | None]] = {
    "where": gain_map,
    "differences": forest,
    "ratio-accuracy": ratio_accuracy,
    "accuracy-cost": accuracy_cost,
    "masks": masks,
    "loss": lambda results: loss_curves(results.study),
}
