"""The Pareto front as a table, and its sentence in the verdict."""

from __future__ import annotations

from pgsbench.reporting.cost.choice import WITHIN, choose
from pgsbench.reporting.cost.pareto import EQUAL, TIME, Cost, Point, costs_of, points_of
from pgsbench.reporting.render import PERCENT, Format, Header, Table, and_, counted, points
from pgsbench.reporting.results import Results, named
from pgsbench.reporting.statistics.comparison import ONE_RUN, of_one_run
from pgsbench.reporting.statistics.intervals import Interval


def pareto_table(results: Results) -> Table | None:
    """Which arms and points are on the front of score against a cost, and against a second one.

    None where the first cost is not known or does not differ.
    """
    cost, other = costs_of(results)
    by_cost = points_of(results, cost)
    if not by_cost:
        return None
    beside = {one.label: one for one in points_of(results, other)}
    rows: list[list[object]] = []
    for one in sorted(by_cost, key=lambda one: not one.is_on_front):
        again = beside.get(one.label)
        second = [again.cost / other.unit, "front" if again.is_on_front else ""] if again else ["", ""]
        rows.append(
            [
                one.label,
                one.mean,
                one.cost / cost.unit,
                _place(results, one),
                "" if one.on_front is None else one.on_front,
                *second,
            ]
        )
    notes = [f"{ONE_RUN.capitalize()}: one seed."] if any(one.mean.num_seeds == 1 for one in by_cost) else []
    notes += [
        f"Score on {named(results.scope)}. Front: nothing that costs no more has a higher score; "
        f"costs up to {100 * (EQUAL - 1):.0f} % apart count as equal. Behind: the best that is ahead, and by "
        "how many points (95 % interval).",
        f"On front: how often the point would be on the front by {cost.name} with other test items and seeds "
        "(of one seed: other test items), in percent.",
    ]
    if results.too_costly:
        notes.append(f"{counted(len(results.too_costly), 'point')} above search.at_most left out.")
    chance = ("on front", Format("{:.0f}", scale=100))
    header: Header = [
        "arm",
        ("score", PERCENT),
        _head(cost),
        f"by {cost.name}",
        chance,
        _head(other),
        f"by {other.name}",
    ]
    return Table("Pareto front", header, rows, notes)


def pareto_sentences(results: Results) -> list[str]:
    """Return what is on the front of score against its first cost, and, of a search for both, what to take.

    None where costs are equal.
    """
    cost = costs_of(results)[0]
    front = [one for one in points_of(results, cost) if one.is_on_front]
    if not front:
        return []
    said = f"On the Pareto front of score on {named(results.scope)} against {cost.name}: "
    said += f"{and_([one.label for one in front])}."
    return [of_one_run(said, min(one.mean.num_seeds for one in front)), *_what_to_take(results)]


def _what_to_take(results: Results) -> list[str]:
    search = results.study.record.config.search
    if search is None or len(search.metrics) < 2:
        return []
    choice = choose(results, within=WITHIN)
    return [] if choice is None else [of_one_run(choice.sentence, results.seeds(choice.label)[0])]


def _head(cost: Cost) -> tuple[str, Format]:
    return cost.column, Format("{:,.0f}" if cost is TIME else "{:,.1f}")


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
