"""Where a mask pays: a search over knobs of the data compares the arms at each of its points.

Such points are worlds, not settings: none of them is the best, and none is chosen.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from pgsbench.records.run_spec import short, short_paths
from pgsbench.reporting.decision.comparisons import group_comparisons
from pgsbench.reporting.render import PERCENT, POINTS, Header, Table, and_, counted, points
from pgsbench.reporting.results import Results
from pgsbench.reporting.statistics.comparison import Comparison, of_one_run, one_run_notes
from pgsbench.reporting.statistics.intervals import Interval
from pgsbench.reporting.style import SMALL, new_figure, themed

_CLAIMS, _OTHERS = ("better", "worse"), ("equivalent", "undecided", "missing")
#: Outcome -> what stands behind the gain in the figure.
_DECIDED = {"better": " ▲", "worse": " ▼"}


def gains(results: Results) -> dict[tuple[str, str], list[Comparison]]:
    """Return (candidate, baseline) -> their comparisons on the first group, one for each point.

    Empty where the search is not over data.
    """
    found: dict[tuple[str, str], list[Comparison]] = {}
    of = next(iter(results.groups), "")
    for one in group_comparisons(results) if results.is_over_data else ():
        if one.of == of:
            arms = results.study.arm_of[one.candidate], results.study.arm_of[one.baseline]
            found.setdefault(arms, []).append(one)
    return found


def where_sentences(results: Results) -> list[str]:
    """Return for each baseline at how many points the candidate gains, and where most."""
    sentences = []
    for (ours, theirs), compared in gains(results).items():
        parts = [
            _claim(results, outcome, [one for one in compared if one.outcome == outcome])
            for outcome in _CLAIMS
        ]
        counts = Counter(one.outcome for one in compared)
        parts += [f"{outcome} at {counts[outcome]}" for outcome in _OTHERS if counts[outcome]]
        settings = counted(len(compared), "setting")
        said = f"Of {settings} of the data, {ours} against {theirs} on {compared[0].of} is "
        sentences.append(of_one_run(f"{said}{and_(parts)}.", _num_seeds(compared)))
    return sentences


def _claim(results: Results, outcome: str, found: list[Comparison]) -> str:
    """Return at how many points the outcome is, and where the difference is largest."""
    if not found:
        return f"{outcome} nowhere"
    largest = max(
        found, key=lambda one: abs(one.interval.estimate) if isinstance(one.interval, Interval) else 0
    )
    at = _point(results, largest)
    return (
        f"{outcome} at {len(found)} ({at})"
        if len(found) == 1
        else f"{outcome} at {len(found)} (most at {at})"
    )


def where_table(results: Results) -> Table | None:
    """The gain at each point; None where the search is not over data."""
    found = gains(results)
    if not found:
        return None
    paths = _paths(results)
    rows: list[list[object]] = []
    for (ours, theirs), compared in found.items():
        for one in compared:
            params = results.params_of(one.candidate)
            values = [results.mean(label, one.of) for label in (one.candidate, one.baseline)]
            chosen = [short(params[path]) if path in params else "" for path in paths]
            rows.append([f"{ours} − {theirs}", *chosen, *values, one.interval, one.verdict])
    before, behind = ["pair"], ["candidate", "baseline", "difference", "verdict"]
    header: Header = [*before, *short_paths(paths, taken=[*before, *behind]).values()]
    header += [*zip(behind, (PERCENT, PERCENT, POINTS), strict=False), behind[-1]]
    notes = one_run_notes(_num_seeds(compared) for compared in found.values())
    notes.append(
        "Percent, and points. Each point is a world of its own: scores of different points do not compare."
    )
    return Table("Where it pays", header, rows, notes)


def gain_map(results: Results) -> Figure | None:
    """Gain of the candidate over two searched knobs of the data, a panel for each baseline.

    Where it wins at some points and loses at others, the line is where the gain is zero; there is none
    between names. None where not exactly two knobs of the data were searched.
    """
    paths = _paths(results)
    if len(paths) != 2:
        return None
    found = {  # points of an earlier search, or of a knob with a condition, may lack one of the two
        pair: [one for one in compared if len(results.params_of(one.candidate)) == 2]
        for pair, compared in gains(results).items()
    }
    if not any(found.values()):
        return None
    values = [_values(results, [one for each in found.values() for one in each], path) for path in paths]
    if min(map(len, values)) < 2:
        return None
    maps = {pair: _matrix(results, compared, paths, values) for pair, compared in found.items()}
    reach = max(0.1, *(float(np.nanmax(np.abs(one), initial=0)) for one in maps.values()))
    with themed():
        figure = new_figure(1.0 + 0.5 * len(values[0]), width=1.2 + 2.6 * len(maps))
        panels = figure.subplots(1, len(maps), squeeze=False)[0]
        for axes, ((ours, theirs), gain) in zip(panels, maps.items(), strict=True):
            drawn = axes.imshow(gain, cmap="RdBu", vmin=-reach, vmax=reach, origin="lower", aspect="auto")
            marks = {}
            for one in found[ours, theirs]:
                cell = _cell(results, one, paths, values)
                marks[cell] = _DECIDED.get(one.outcome, "")
            if len(set(marks.values()) - {""}) == 2 and all(map(_are_numbers, values)):
                axes.contour(gain, levels=[0], colors="black", linewidths=1.2)
            for (row, column), value in np.ndenumerate(gain):
                dark = abs(value) > 0.6 * reach
                said = "" if np.isnan(value) else f"{value:+.1f}".replace("-", "−") + marks[row, column]
                colour = "white" if dark else "black"
                axes.text(column, row, said, ha="center", va="center", color=colour, fontsize=SMALL)
            axes.set_title(f"{ours} − {theirs}")
            axes.set_yticks(range(len(values[0])), [short(value) for value in values[0]])
            axes.set_xticks(range(len(values[1])), [short(value) for value in values[1]])
            axes.set(**dict(zip(("ylabel", "xlabel"), short_paths(paths).values(), strict=True)))
            axes.grid(visible=False)
        figure.colorbar(drawn, ax=list(panels), label="gain in points")
    return figure


def _matrix(
    results: Results, compared: list[Comparison], paths: list[str], values: list[list[Any]]
) -> np.ndarray[tuple[int, int], np.dtype[np.float64]]:
    gain = np.full((len(values[0]), len(values[1])), np.nan)
    for one in compared:
        if isinstance(one.interval, Interval):
            gain[_cell(results, one, paths, values)] = 100 * one.interval.estimate
    return gain


def _cell(results: Results, one: Comparison, paths: list[str], values: list[list[Any]]) -> tuple[int, int]:
    """Return the row and the column of a point in the figure."""
    row, column = (known.index(_value(results, one, path)) for path, known in zip(paths, values, strict=True))
    return row, column


def _paths(results: Results) -> list[str]:
    search = results.study.record.config.search
    return list(search.space) if search else []


def _value(results: Results, one: Comparison, path: str) -> Any:
    return results.params_of(one.candidate)[path]


def _values(results: Results, compared: list[Comparison], path: str) -> list[Any]:
    """Return the values of a knob as an axis has them: numbers rise, names stay in the study's order."""
    found = list(dict.fromkeys(_value(results, one, path) for one in compared))
    return sorted(found) if _are_numbers(found) else found


def _are_numbers(values: list[Any]) -> bool:
    return all(isinstance(value, int | float) and not isinstance(value, bool) for value in values)


def _point(results: Results, one: Comparison) -> str:
    params = results.params_of(one.candidate)
    names = short_paths(params)
    said = ", ".join(f"{names[path]} {short(value)}" for path, value in params.items())
    return f"{said}: {points(one.interval.estimate)}" if isinstance(one.interval, Interval) else said


def _num_seeds(compared: list[Comparison]) -> int:
    return min((one.interval.num_seeds for one in compared if isinstance(one.interval, Interval)), default=0)
