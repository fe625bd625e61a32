"""What scores cost, told: the Pareto front, and the best point or a cheaper one that is nearly as good."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pgsbench.reporting.columns import rows_of
from pgsbench.reporting.cost.pareto import EQUAL, Cost, Point, costs_of, points_of
from pgsbench.reporting.render import and_, counted, percent, points
from pgsbench.reporting.results import Results, named
from pgsbench.reporting.statistics.comparison import of_one_run
from pgsbench.reporting.statistics.intervals import Interval

#: How many points behind the best the report looks for something cheaper.
WITHIN = 1.0


@dataclass(frozen=True)
class Choice:
    """A point of a search, and by what rule it was chosen.

    Attributes:
        label: The point.
        sentence: The rule and what it says.
    """

    label: str
    sentence: str


def choose(results: Results, *, within: float = 0.0) -> Choice | None:
    """Choose a searched point; None where no point has a score, or all that have cost too much.

    Args:
        results: The study.
        within: How many points a cheaper one may be behind the best; 0: the best is chosen.
    """
    values = {label: results.objective_value(label) for label in results.study.labels}
    values = {key: value for key, value in values.items() if results.params_of(key) and not np.isnan(value)}
    allowed = {label: value for label, value in values.items() if label not in results.too_costly}
    left_out = len(values) - len(allowed)
    values = allowed
    if not values:
        return None
    limits = f"; {counted(left_out, 'point')} above search.at_most left out" if left_out else ""
    best, objective = results.best(values), results.objective.name
    cost, costs = _costs(results) if within else (None, {})
    if cost is None:
        said = f"{best} has the highest {objective} ({percent(values[best])})"
        return Choice(best, f"{said} of {counted(len(values), 'point')}{limits}.")
    near = [
        label for label in values if values[best] - values[label] <= within / 100 + 1e-9 and label in costs
    ]
    least = min((costs[label] for label in near), default=0.0)
    cheapest = results.best([label for label in near if costs[label] <= EQUAL * least] or [best])
    margin = f"{within:g} {'point' if within == 1 else 'points'}"
    rule = f"at most {margin} behind the best {objective}, {best} ({percent(values[best])})"
    said = f"Of {counted(len(values), 'point')} {cheapest} is the cheapest by {cost.name} that is {rule}"
    if cheapest != best and best in costs:
        said += f": {costs[cheapest] / costs[best]:.2f} times its cost, {_lead(results, cheapest, best)}"
    return Choice(cheapest, f"{said}{limits}.")


def _costs(results: Results) -> tuple[Cost | None, dict[str, float]]:
    """Return the first cost that is known, and label -> what a run costs."""
    rows = rows_of(results)
    for cost in costs_of(results):
        found = {label: cost.of(row) for label, row in rows.items()}
        known = {label: spent for label, spent in found.items() if spent is not None}
        if known:
            return cost, known
    return None, {}


def _lead(results: Results, ours: str, best: str) -> str:
    lead = results.difference(ours, best, results.scope)
    if not isinstance(lead, Interval):
        return f"{points(results.objective_value(ours) - results.objective_value(best))} points"
    return f"{points(lead.estimate)} points (95 % interval {points(lead.low)} to {points(lead.high)})"


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


def place(results: Results, point: Point) -> str:
    """Return where a point stands: on the front, or behind whom, and by how much."""
    if point.is_on_front:
        return "front"
    if point.ahead is None:
        return "no method"
    lead = results.difference(point.ahead, point.label, results.scope)
    if not isinstance(lead, Interval):
        return f"behind {point.ahead}"
    by, low, high = (points(end).replace("+", "") for end in (lead.estimate, lead.low, lead.high))
    return f"behind {point.ahead} by {by} ({low} to {high})"
