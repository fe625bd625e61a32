"""Where a mask pays: a search over knobs of the data compares the arms at each of its points.

Such points are worlds, not settings: none of them is the best, and none is chosen.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from pgsbench.records.run_spec import short, short_paths
from pgsbench.reporting.decision.comparisons import group_comparisons
from pgsbench.reporting.render import PERCENT, POINTS, Header, Table, marked
from pgsbench.reporting.results import Results
from pgsbench.reporting.statistics.comparison import Comparison
from pgsbench.reporting.statistics.intervals import Interval
from pgsbench.reporting.style import FIRST_WIDTH, ON_DARK, ON_LIGHT, SMALL, new_figure, themed

#: Outcome -> what stands behind the gain in the figure.
_DECIDED = {"better": " ▲", "worse": " ▼"}


def gains(results: Results) -> dict[tuple[str, str], list[Comparison]]:
    """Return (candidate, baseline) -> their comparisons on the first group, one for each point.

    Empty where the search is not over data.
    """
    found: dict[tuple[str, str], list[Comparison]] = {}
    for one in group_comparisons(results) if results.is_over_data else ():
        if one.of == results.headline:
            arms = results.study.arm_of[one.candidate], results.study.arm_of[one.baseline]
            found.setdefault(arms, []).append(one)
    return found


def extremes(results: Results) -> tuple[str, str, tuple[str, float] | None, tuple[str, float] | None] | None:
    """Return candidate, first baseline, and the worlds where it surely gains and loses most."""
    found = gains(results)
    if not found:
        return None
    (ours, theirs), compared = next(iter(found.items()))
    ends = []
    for outcome in ("better", "worse"):
        decided = [one for one in compared if one.outcome == outcome]
        most = max(decided, key=lambda one: abs(_gain(one)), default=None)
        ends.append((_said_world(results, most), _gain(most)) if most else None)
    return ours, theirs, ends[0], ends[1]


def _said_world(results: Results, one: Comparison) -> str:
    params = results.params_of(one.candidate)
    names = short_paths(params)
    return ", ".join(f"{names[path]} {short(value)}" for path, value in params.items())


def gains_table(results: Results) -> Table | None:
    """The gain at each point; None where the search is not over data."""
    found = gains(results)
    if not found:
        return None
    paths = _paths(results)
    rows: list[list[object]] = []
    for (ours, theirs), compared in found.items():
        for one in compared:
            values = [results.mean(label, one.of) for label in (one.candidate, one.baseline)]
            verdict = marked(one.outcome) + (" (one seed)" if one.has_one_seed else "")
            rows.append(
                [f"{ours} − {theirs}", *results.chosen(one.candidate, paths), one.interval, verdict, *values]
            )
    behind = ["gain", "verdict", "candidate", "baseline"]
    header: Header = ["pair", *short_paths(paths, taken=["pair", *behind]).values()]
    header += [("gain", POINTS), "verdict", ("candidate", PERCENT), ("baseline", PERCENT)]
    notes = ["Points, and percent. Each row is a world of its own: scores of different rows do not compare."]
    num_first = 1 + len(paths) + 2
    if len(found) == 1:
        header, rows, num_first = header[1:], [row[1:] for row in rows], num_first - 1
    return Table("Where it pays", header, rows, notes, num_keys=num_first - 2, num_first=num_first)


def gain_map(results: Results) -> Figure | None:
    """Gain of the candidate over two searched knobs of the data, a panel for each baseline.

    Where it wins at some points and loses at others, the line is where the gain is zero; there is none
    between names. None where not exactly two knobs of the data were searched.
    """
    paths, rows = _paths(results), []
    for pair, compared in gains(results).items():
        for one in compared:
            params = results.params_of(one.candidate)
            if params.keys() == set(paths):  # points of an earlier search, or under a condition, may lack one
                at = [params[path] for path in paths]
                rows.append([pair, *at, _gain(one), _DECIDED.get(one.outcome, "")])
    if len(paths) != 2 or not rows:
        return None
    frame = pd.DataFrame(rows, columns=["pair", "row", "column", "gain", "mark"])
    axis_values = [_values(frame[axis]) for axis in ("row", "column")]
    if min(map(len, axis_values)) < 2:
        return None
    pairs = list(dict.fromkeys(frame["pair"]))
    reach = max(0.1, float(np.nan_to_num(frame["gain"].abs().max())) * 100)
    with themed():
        figure = new_figure(
            1.0 + 0.5 * len(axis_values[0]), width=FIRST_WIDTH if len(pairs) == 1 else 1.2 + 2.6 * len(pairs)
        )
        panels = figure.subplots(1, len(pairs), squeeze=False)[0]
        for axes, pair in zip(panels, pairs, strict=True):
            cells = frame[frame["pair"] == pair].set_index(["row", "column"])
            gain, marks = (_matrix(cells[name], axis_values) for name in ("gain", "mark"))
            drawn = _draw(axes, 100 * gain.astype(float), marks, reach)
            if len(set(cells["mark"]) - {""}) == 2 and all(map(_are_numbers, axis_values)):
                axes.contour(gain.astype(float), levels=[0], colors="black", linewidths=1.2)
            axes.set_title(" − ".join(pair))
            axes.set_yticks(range(len(axis_values[0])), [short(value) for value in axis_values[0]])
            axes.set_xticks(range(len(axis_values[1])), [short(value) for value in axis_values[1]])
            axes.set(**dict(zip(("ylabel", "xlabel"), short_paths(paths).values(), strict=True)))
            axes.grid(visible=False)
        figure.colorbar(drawn, ax=list(panels), label="gain in points")
    return figure


def _draw(axes: Any, gain: Any, marks: Any, reach: float) -> Any:
    """Draw one panel's (rows, columns) gains in points, with the mark of each."""
    for (row, column), value in np.ndenumerate(gain):
        said = "" if np.isnan(value) else f"{value:+.1f}".replace("-", "−") + marks[row, column]
        colour = ON_DARK if abs(value) > 0.6 * reach else ON_LIGHT
        axes.text(column, row, said, ha="center", va="center", color=colour, fontsize=SMALL)
    return axes.imshow(gain, cmap="RdBu", vmin=-reach, vmax=reach, origin="lower", aspect="auto")


def _matrix(cells: pd.Series[Any], axis_values: Sequence[list[Any]]) -> Any:
    return cells.unstack().reindex(axis_values[0], columns=axis_values[1]).to_numpy()


def _values(column: pd.Series[Any]) -> list[Any]:
    """Return the values of a knob as an axis has them: numbers rise, names stay in the study's order."""
    found = column.drop_duplicates().tolist()
    return sorted(found) if _are_numbers(found) else found


def _are_numbers(values: list[Any]) -> bool:
    return all(isinstance(value, int | float) and not isinstance(value, bool) for value in values)


def _gain(one: Comparison) -> float:
    return one.interval.estimate if isinstance(one.interval, Interval) else np.nan


def _paths(results: Results) -> list[str]:
    search = results.study.record.config.search
    return list(search.space) if search else []
