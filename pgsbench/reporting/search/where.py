"""Where a mask pays: a search over knobs of the data compares the arms at each of its points.

Such points are worlds, not settings: none of them is the best, and none is chosen.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from pgsbench.records.run_spec import short, short_paths
from pgsbench.reporting.decision.comparisons import group_comparisons
from pgsbench.reporting.render import PERCENT, POINTS, Header, Table, and_, counted, points
from pgsbench.reporting.results import Results
from pgsbench.reporting.statistics.comparison import Comparison, of_one_run, one_run_notes
from pgsbench.reporting.statistics.intervals import Interval
from pgsbench.reporting.style import SMALL, new_figure, themed

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


def where_sentences(results: Results) -> list[str]:
    """Return for each baseline at how many points the candidate gains, and where most."""
    sentences = []
    for (ours, theirs), compared in gains(results).items():
        parts = [_claim(results, outcome, compared) for outcome in ("better", "worse")]
        counts = Counter(one.outcome for one in compared)
        others = ("equivalent", "undecided", "missing")
        parts += [f"{outcome} at {counts[outcome]}" for outcome in others if counts[outcome]]
        settings = counted(len(compared), "setting")
        said = f"Of {settings} of the data, {ours} against {theirs} on {compared[0].of} is {and_(parts)}."
        sentences.append(of_one_run(said, _least_seeds(compared)))
    return sentences


def _claim(results: Results, outcome: str, compared: Sequence[Comparison]) -> str:
    """Return at how many points the outcome is, and where the difference is largest."""
    found = [one for one in compared if one.outcome == outcome]
    if not found:
        return f"{outcome} nowhere"
    largest = max(found, key=lambda one: abs(_gain(one)))
    params = results.params_of(largest.candidate)
    names = short_paths(params)
    at = ", ".join(f"{names[path]} {short(value)}" for path, value in params.items())
    most = "most at " if len(found) > 1 else ""
    return f"{outcome} at {len(found)} ({most}{at}: {points(_gain(largest))})"


def where_table(results: Results) -> Table | None:
    """The gain at each point; None where the search is not over data."""
    found = gains(results)
    if not found:
        return None
    paths = _paths(results)
    rows: list[list[object]] = []
    for (ours, theirs), compared in found.items():
        for one in compared:
            values = [results.mean(label, one.of) for label in (one.candidate, one.baseline)]
            chosen = results.chosen(one.candidate, paths)
            rows.append([f"{ours} − {theirs}", *chosen, *values, one.interval, one.verdict])
    before, behind = ["pair"], ["candidate", "baseline", "difference", "verdict"]
    header: Header = [*before, *short_paths(paths, taken=[*before, *behind]).values()]
    header += [*zip(behind, (PERCENT, PERCENT, POINTS), strict=False), behind[-1]]
    notes = one_run_notes(_least_seeds(compared) for compared in found.values())
    notes.append(
        "Percent, and points. Each point is a world of its own: scores of different points do not compare."
    )
    return Table("Where it pays", header, rows, notes)


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
        figure = new_figure(1.0 + 0.5 * len(axis_values[0]), width=1.2 + 2.6 * len(pairs))
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
        colour = "white" if abs(value) > 0.6 * reach else "black"
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


def _least_seeds(compared: Sequence[Comparison]) -> int:
    return min((one.num_seeds for one in compared if one.num_seeds), default=0)
