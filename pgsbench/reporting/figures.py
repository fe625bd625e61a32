"""The figures of a report, a picture for each kind of question; and the masks that single runs keep.

Names stand beside what they name, and no figure needs a legend.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from pgsbench.colours import arm_colours
from pgsbench.records import files
from pgsbench.records.run_spec import short, short_paths
from pgsbench.reporting.answer import kind_of
from pgsbench.reporting.decision.comparisons import decisions
from pgsbench.reporting.during import during_figure
from pgsbench.reporting.gallery import ShownSelection, mask_gallery
from pgsbench.reporting.pareto import TIME, costs_of, points_of
from pgsbench.reporting.results import Results
from pgsbench.reporting.statistics.intervals import Interval
from pgsbench.reporting.study_frames import Frames, Gallery
from pgsbench.reporting.style import (
    FAINT,
    FIRST_WIDTH,
    INK,
    ON_DARK,
    ON_LIGHT,
    PAPER,
    SMALL,
    label_lines,
    label_points,
    new_figure,
    pens,
    percent_tick,
    save,
    star,
    themed,
    thousands,
)
from pgsbench.reporting.sweep import are_numbers, best_points, searched_labels, searched_values
from pgsbench.reporting.tuned import tuned_figure

#: Pictures in the gallery of masks.
MASK_IMAGES = 3
#: More points of a search than this are named only where they are the best of their arm or on the front.
MAX_NAMED = 16
#: Values so far apart lie on a logarithmic axis.
_DECADES = 10


def forest(results: Results) -> Figure | None:
    """The candidate's lead over each baseline on the headline, a line each; None where nothing is compared.

    A dot is filled where it is better or worse, in the colour of the better arm.
    """
    found = [(one, one.interval) for one in decisions(results) if isinstance(one.interval, Interval)]
    if not found:
        return None
    found.sort(key=lambda pair: pair[1].estimate)
    names = [f"{one.names[1]}{f', {one.names[2]}' if one.names[2] else ''}" for one, _ in found]
    many = len({one.candidate for one, _ in found}) > 1
    names = [one.pair for one, _ in found] if many else names
    pen_of, arm_of = pens(results.study.arms), results.study.arm_of
    with themed():
        figure = new_figure(0.8 + 0.27 * len(found), width=FIRST_WIDTH)
        axes = figure.subplots()
        margin = 100 * found[0][0].margin
        if margin == margin:
            axes.axvspan(-margin, margin, color=FAINT, alpha=0.35, linewidth=0, zorder=0)
        axes.axvline(0, color=INK, linewidth=0.8)
        for row, (one, lead) in enumerate(found):
            better = {"better": one.candidate, "worse": one.baseline}.get(one.outcome)
            colour = pen_of[arm_of[better]].colour if better else INK
            axes.plot([100 * lead.low, 100 * lead.high], [row, row], color=colour, linewidth=1.6)
            face = colour if better else PAPER
            axes.plot(100 * lead.estimate, row, marker="o", color=colour, markersize=6, markerfacecolor=face)
        axes.set_yticks(range(len(names)), names)
        axes.set_ylim(-0.6, len(found) - 0.4)
        axes.grid(axis="y", visible=False)
        who = "the first" if many else results.study.arm_of[found[0][0].candidate]
        axes.set(xlabel=f"points that {who} leads by")
    return figure


def sweep(results: Results) -> Figure | None:
    """Score against each searched path, at most three: a line per arm with its band, its best starred.

    Whole pictures are a dotted line. Of several paths the points stand alone. None without a path of numbers.
    """
    values = {path: known for path, known in searched_values(results).items() if are_numbers(known)}
    if not values or not results.scope:
        return None
    paths, names = list(values)[:3], short_paths(searched_values(results))
    is_line = len(searched_values(results)) == 1
    with themed():
        width = FIRST_WIDTH if len(paths) == 1 else FIRST_WIDTH + 1.0
        figure = new_figure(3.4, width=width)
        panels = figure.subplots(1, len(paths), squeeze=False, sharey=True)[0]
        for path, axes in zip(paths, panels, strict=True):
            ends = _arms_over(axes, results, path, is_line=is_line)
            numbers = np.array(values[path], dtype=float)
            if numbers.min() > 0 and numbers.max() / numbers.min() >= _DECADES:
                axes.set_xscale("log")
            elif len(numbers) <= 6:
                axes.set_xticks(numbers, [f"{number:g}" for number in numbers])
            axes.set(xlabel=names[path])
            axes.yaxis.set_major_formatter(FuncFormatter(percent_tick))
            if axes is panels[-1]:
                label_lines(axes, ends)
        panels[0].set(ylabel=f"{results.scope} (%)")
    return figure


def _arms_over(axes: Any, results: Results, path: str, *, is_line: bool) -> list[tuple[float, str, str]]:
    """Draw all arms over a path; returns height, name and colour of the end of each."""
    names, best = [], best_points(results)
    for arm, pen in pens(results.study.arms).items():
        found = [
            (float(results.params_of(label)[path]), mean, label)  # type: ignore[arg-type]
            for label in searched_labels(results)
            if results.study.arm_of[label] == arm and path in results.params_of(label)
            if isinstance(mean := results.mean(label, results.scope), Interval)
        ]
        found.sort(key=lambda point: point[0])
        x, y = [point[0] for point in found], [point[1].estimate for point in found]
        if found and is_line:
            ends = [m.low for _, m, _ in found], [m.high for _, m, _ in found]
            axes.fill_between(x, *ends, color=pen.colour, alpha=0.15, linewidth=0)
            axes.plot(x, y, color=pen.colour, marker=pen.marker, label=arm)
        elif found:
            axes.plot(x, y, color=pen.colour, marker=pen.marker, linestyle="none", alpha=0.7, label=arm)
        for at, mean, label in found:
            if best.get(arm) == label:
                star(axes, at, mean.estimate, pen.colour)
        if found:
            names.append((y[-1] if is_line else max(y), arm, pen.colour))
        elif not any(results.params_of(label) for label in results.labels_of(arm)):
            mean = results.mean(results.labels_of(arm)[0], results.scope)
            if isinstance(mean, Interval):
                axes.axhline(mean.estimate, color=pen.colour, linestyle=":", linewidth=1.4, label=arm)
                names.append((mean.estimate, arm, pen.colour))
    return names


def heat(results: Results) -> Figure | None:
    """Score at each point of a search of two settings, the arm being one where several are searched.

    None where there are not two, or where points have no place on a grid.
    """
    values, arms = searched_values(results), list(best_points(results))
    names = short_paths(values, taken=("arm",))
    axes_of: dict[str, list[Any]] = {
        **({"arm": arms} if len(arms) > 1 else {}),
        **{names[path]: v for path, v in values.items()},
    }
    if len(axes_of) != 2:
        return None
    (row_name, rows), (column_name, columns) = axes_of.items()
    cells = np.full((len(rows), len(columns)), np.nan)
    for label in searched_labels(results):
        at = {names[path]: value for path, value in results.params_of(label).items() if path in names}
        at |= {"arm": results.study.arm_of[label]}
        value = results.objective_value(label)
        if row_name in at and column_name in at and at["arm"] in arms:
            cells[rows.index(at[row_name]), columns.index(at[column_name])] = 100 * value
    if np.isfinite(cells).mean() < 0.5:  # sampled: a cell of its own for each point
        return None
    with themed():
        figure = new_figure(0.9 + 0.36 * len(rows), width=FIRST_WIDTH)
        axes = figure.subplots()
        axes.imshow(cells, cmap="Blues", aspect="auto", origin="upper")
        middle = 0.4 * np.nanmin(cells) + 0.6 * np.nanmax(cells)
        for (row, column), value in np.ndenumerate(cells):
            if np.isfinite(value):
                is_best, colour = value == np.nanmax(cells), ON_DARK if value > middle else ON_LIGHT
                text = f"{value:.1f}{' ★' if is_best else ''}"
                axes.text(column, row, text, ha="center", va="center", color=colour, fontsize=SMALL)
        axes.set_yticks(range(len(rows)), [short(value) for value in rows])
        axes.set_xticks(range(len(columns)), [short(value) for value in columns])
        axes.set(xlabel=column_name, ylabel="" if row_name == "arm" else row_name)
        axes.grid(visible=False)
        axes.spines[:].set_visible(False)
    return figure


def settings(results: Results) -> Figure | None:
    """The picture of a search of several settings: a heat map, or else score against each."""
    return heat(results) or sweep(results)


def accuracy_cost(results: Results) -> Figure | None:
    """Score against the first cost that differs: a point per label with its 95 % interval and its name.

    Points on the Pareto front are filled and joined. Of many points of a search only those and the best of
    each arm have names. None where all cost the same.
    """
    cost = next((one for one in costs_of(results) if points_of(results, one)), None)
    if cost is None:
        return None
    points, pen_of = points_of(results, cost), pens(results.study.arms)
    unit, scale = (f" ({cost.column})", cost.unit)
    if cost is TIME:
        unit, scale = _time_unit(points[-1].cost)
    with themed():
        figure = new_figure(3.7, width=FIRST_WIDTH)
        axes = figure.subplots()
        front = [one for one in points if one.is_on_front]
        x, y = [one.cost / scale for one in front], [one.mean.estimate for one in front]
        if front:  # else all points are the oracle's
            x, y = [*x, points[-1].cost / scale], [*y, y[-1]]
            axes.step(x, y, where="post", color=INK, linewidth=0.8, alpha=0.6)
        named_ = best_points(results).values()
        labels = []
        for one in points:
            pen, at = pen_of[one.arm], one.cost / scale
            reach = [[one.mean.estimate - one.mean.low], [one.mean.high - one.mean.estimate]]
            face = pen.colour if one.is_on_front else PAPER
            look: dict[str, Any] = {"marker": pen.marker, "markerfacecolor": face, "linestyle": "none"}
            axes.errorbar(
                at, one.mean.estimate, reach, color=pen.colour, elinewidth=0.4, label=one.label, **look
            )
            is_named = len(points) <= MAX_NAMED or one.is_on_front or one.label in named_
            labels.append((at, one.mean.estimate, one.label if is_named else "", pen.colour))
        axes.margins(x=0.16)
        axes.set(xlabel=f"{cost.name}{unit}", ylabel=f"{results.scope} (%)")
        axes.yaxis.set_major_formatter(FuncFormatter(percent_tick))
        label_points(axes, labels)
    return figure


def _time_unit(largest: float) -> tuple[str, float]:
    if largest < 300:
        return " (seconds)", 1.0
    return (" (minutes)", 60.0) if largest < 3 * 3600 else (" (hours)", 3600.0)


def loss_curves(study: Frames) -> Figure | None:
    """Training loss against pairs seen: a line per label, its mean over seeds, points of an arm alike.

    None where there is no curve.
    """
    curves = study.curves
    if "loss" not in curves or "samples" not in curves or curves["loss"].notna().sum() < 2:
        return None
    with themed():
        figure = new_figure(3.2, width=FIRST_WIDTH)
        axes, pen_of, ends = figure.subplots(), pens(study.arms), {}
        for label, arm in study.arm_of.items():
            mine = curves[curves["label"] == label].dropna(subset=["loss"])
            mean = mine.groupby("samples")["loss"].mean().rolling(5, min_periods=1, center=True).mean()
            if len(mean):
                pen = pen_of[arm]
                axes.plot(mean.index, mean, color=pen.colour, linestyle=pen.dashes, linewidth=1.1, label=arm)
                ends[arm] = (float(mean.iloc[-1]), arm, pen.colour)
        axes.set(xlabel="training pairs seen", ylabel="contrastive loss")
        axes.xaxis.set_major_formatter(FuncFormatter(thousands))
        axes.margins(x=0.01)
        label_lines(axes, list(ends.values()))
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


#: Kind of question -> name of its picture's file.
FIRST = {"compare": "differences", "sweep": "sweep", "factors": "settings", "cost": "cost"}
#: Name of the file -> what draws it from the results of a study.
ALL: dict[str, Callable[[Results], Figure | None]] = {
    "differences": forest,
    "sweep": sweep,
    "settings": settings,
    "cost": accuracy_cost,
    "tuned": tuned_figure,
    "during": during_figure,
    "masks": masks,
    "loss": lambda results: loss_curves(results.study),
}


def names_for(results: Results) -> list[str]:
    """Return the figures of a study: the picture of its question, what scores cost, masks and losses."""
    first = FIRST[kind_of(results)]
    tuned = ["tuned"] if results.study.record.tunings else []
    wanted = dict.fromkeys([first, "cost", *tuned, "during", "masks", "loss"])
    return [name for name in wanted if name in ALL]


def draw_masks(study: Frames) -> None:
    """Draw ``figures/masks.png`` of each complete run that lacks it, where MLflow finds it."""
    for run in study.runs:
        path, gallery = run.path / files.FIGURES / "masks.png", run.gallery
        if run.state != "done" or path.is_file() or gallery is None:
            continue
        shown = {run.arm: ShownSelection(gallery.shown, seen=gallery.seen, tokens=gallery.tokens)}
        save(mask_gallery(gallery.images, shown, grid=gallery.grid, colours=arm_colours(study.arms)), path)
