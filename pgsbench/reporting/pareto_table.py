"""The Pareto front as a table, and its sentence in the verdict."""

from __future__ import annotations

from pgsbench.reporting.comparison import ONE_RUN, of_one_run
from pgsbench.reporting.pareto import EQUAL, FLOPS, TIME, Point, points_of
from pgsbench.reporting.render import Table, and_, interval_cell, points
from pgsbench.reporting.results import Results, named
from pgsbench.reporting.stats import Interval


def pareto_table(results: Results) -> Table | None:
    """Which arms and points are on the front of score against operations, and against time.

    None where operations are not known or do not differ.
    """
    by_flops = points_of(results, FLOPS)
    if not by_flops:
        return None
    by_time = {one.label: one for one in points_of(results, TIME)}
    rows = []
    for one in sorted(by_flops, key=lambda one: not one.is_on_front):
        timed = by_time.get(one.label)
        score = interval_cell(one.mean.estimate, one.mean.low, one.mean.high)
        beside = [f"{timed.cost:,.0f}", "front" if timed.is_on_front else ""] if timed else ["", ""]
        rows.append(
            [one.label, score, f"{one.cost / 1e12:,.1f}", _place(results, one), _chance(one), *beside]
        )
    notes = [f"{ONE_RUN.capitalize()}: one seed."] if any(one.mean.num_seeds == 1 for one in by_flops) else []
    notes += [
        f"Score on {named(results.scope)}. Front: nothing that costs no more has a higher score; "
        f"costs up to {100 * (EQUAL - 1):.0f} % apart count as equal. Behind: the best that is ahead, and by "
        "how many points (95 % interval).",
        "On front: how often the point would be on the front by TFLOP with other test items and seeds (of "
        "one seed: other test items), in percent.",
    ]
    header = ["arm", "score", "TFLOP", "by TFLOP", "on front", "train s", "by time"]
    return Table("Pareto front", header, rows, notes, text_columns=(3, 6))


def pareto_sentences(results: Results) -> list[str]:
    """Return what is on the front of score against operations, in a sentence; none where costs are equal."""
    front = [one for one in points_of(results, FLOPS) if one.is_on_front]
    if not front:
        return []
    said = f"On the Pareto front of score on {named(results.scope)} against operations: "
    said += f"{and_([one.label for one in front])}."
    return [of_one_run(said, min(one.mean.num_seeds for one in front))]


def _place(results: Results, point: Point) -> str:
    if point.is_on_front:
        return "front"
    if point.ahead is None:
        return "no method"
    lead = results.difference(point.ahead, point.label, results.scope)
    if not isinstance(lead, Interval):
        return f"behind {point.ahead}"
    by, low, high = (points(end).replace("+", "") for end in (lead.estimate, lead.low, lead.high))
    return f"behind {point.ahead} by {by} ({low} to {high})"


def _chance(point: Point) -> str:
    return "" if point.on_front is None else f"{100 * point.on_front:.0f}"
