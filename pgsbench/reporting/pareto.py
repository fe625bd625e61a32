"""What scores cost: the Pareto front, and the cheaper point that is nearly as good."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from pgsbench.reporting.columns import Row, rows_of
from pgsbench.reporting.render import PERCENT, Format, Header, Table, points
from pgsbench.reporting.results import Results, named
from pgsbench.reporting.statistics.comparison import Missing
from pgsbench.reporting.statistics.intervals import Interval, mean_draws
from pgsbench.study.objective import objectives_of

#: Costs up to this factor apart count as equal.
EQUAL = 1.03
#: Draws behind `Point.on_front`.
DRAWS = 4000
#: How many points behind the best the report looks for something cheaper.
WITHIN = 1.0


class Cost(NamedTuple):
    """A cost that scores are set against.

    Attributes:
        name: Its name in sentences.
        column: Its name in tables, with the unit.
        of: What a run of an arm or point costs in the mean; None where that was not measured.
        unit: So much of it is 1 in tables.
    """

    name: str
    column: str
    of: Callable[[Row], float | None]
    unit: float = 1.0


def _tokens(row: Row) -> float | None:
    visual = row.summary.get("visual_tokens")
    return None if visual is None else visual + row.summary.get("text_tokens", 0.0)


FLOPS = Cost("operations", "TFLOP", lambda row: row.summary.get("flops"), 1e12)
TIME = Cost("time", "train s", lambda row: row.seconds)
TOKENS = Cost("tokens", "10⁶ tokens", _tokens, 1e6)
MEMORY = Cost("memory", "peak GiB", lambda row: row.summary.get("peak_memory_bytes"), 2.0**30)
#: Cost of a search's second objective -> the cost.
COSTS = {"flops": FLOPS, "train_seconds": TIME, "tokens": TOKENS, "memory": MEMORY}


@dataclass(frozen=True)
class Point:
    """An arm or a searched point beside its cost.

    Attributes:
        label: Its label.
        arm: Its arm.
        is_oracle: Whether it is no method: it is drawn, but beats none and is on no front.
        cost: Mean over its runs.
        mean: Its score.
        is_on_front: Whether nothing that costs no more has a higher score.
        ahead: The best of those that are better and cost no more.
        on_front: How often it would be on the front with other test items and seeds; None where that cannot
            be told.
    """

    label: str
    arm: str
    is_oracle: bool
    cost: float
    mean: Interval
    is_on_front: bool = False
    ahead: str | None = None
    on_front: float | None = None


def costs_of(results: Results) -> list[Cost]:
    """Return the two costs that scores are set against: that of the search, if it has one, comes first."""
    search = results.study.record.config.search
    own = [COSTS[one.name] for one in objectives_of(search)[1:]] if search else []
    return list(dict.fromkeys([*own, FLOPS, TIME]))[:2]


def points_of(results: Results, cost: Cost) -> list[Point]:
    """Return all points with a score and a cost, the cheapest first; none where all cost the same.

    Points that cost more than `search.at_most` allows are left out.
    """
    is_comparable = results.groups and not results.is_over_data  # points of one world, that is
    found: list[Point] = []
    for label, row in rows_of(results).items() if is_comparable else ():
        if label in results.too_costly:
            continue
        mean, spent = results.mean(label, results.scope), cost.of(row)
        if spent is not None and isinstance(mean, Interval):
            spec = results.study.of(label)[0].spec
            found.append(Point(label, spec.arm, spec.is_oracle, spent, mean))
    found = sorted(found, key=lambda one: one.cost)
    if len(found) < 2 or found[-1].cost <= EQUAL * found[0].cost:
        return []
    ahead = _ahead(found, np.array([[one.mean.estimate for one in found]]))[0]
    placed = [
        replace(one, is_on_front=best < 0, ahead=found[best].label if best >= 0 else None)
        for one, best in zip(found, ahead, strict=True)
    ]
    chances = _chances(results, found)
    return [
        replace(one, is_on_front=False) if one.is_oracle else replace(one, on_front=chance)
        for one, chance in zip(placed, chances, strict=True)
    ]


def _ahead(found: Sequence[Point], scores: np.ndarray) -> np.ndarray:
    """Return (draws, points) the number of the best one that beats each, -1 where there is none.

    Args:
        found: All of them.
        scores: (draws, points) the score of each in each draw.
    """
    ahead = np.empty(scores.shape, dtype=int)
    for number, own in enumerate(found):
        rivals = [one.cost <= EQUAL * own.cost and not one.is_oracle for one in found]
        rivals[number] = True  # which never beats itself
        allowed = np.flatnonzero(rivals)
        best = allowed[scores[:, allowed].argmax(axis=1)]
        is_beaten = scores[np.arange(len(scores)), best] > scores[:, number]
        ahead[:, number] = np.where(is_beaten, best, -1)
    return ahead


def _chances(results: Results, found: Sequence[Point]) -> list[float | None]:
    labels = [one.label for one in found]
    paired = results.pair_up(labels, results.scope)
    if isinstance(paired, Missing):
        return [None] * len(found)
    draws = mean_draws(paired, sorted(labels), DRAWS, np.random.default_rng(0))  # wherever an arm stands
    return list((_ahead(found, draws[labels].to_numpy()) < 0).mean(axis=0))


def choose(results: Results, *, within: float = 0.0) -> str | None:
    """Choose a searched point; None where no point has a score, or all that have cost too much.

    Args:
        results: The study.
        within: How many points a cheaper one, by the first cost that is known, may be behind the best; 0: the
            best is chosen.
    """
    points = [label for label in results.study.labels if results.params_of(label)]
    values = {label: results.objective_value(label) for label in points if label not in results.too_costly}
    values = {label: value for label, value in values.items() if not np.isnan(value)}
    if not values:
        return None
    best, rows = results.best(values), rows_of(results)
    for cost in costs_of(results) if within else ():
        costs = {label: spent for label in values if (spent := cost.of(rows[label])) is not None}
        near = [label for label in costs if values[best] - values[label] <= within / 100 + 1e-9]
        if near:
            least = min(costs[label] for label in near)
            return results.best([label for label in near if costs[label] <= EQUAL * least])
    return best


def front_table(results: Results) -> Table | None:
    """What scores cost: each point, on the front or behind whom; None where costs are equal."""
    cost = next((one for one in costs_of(results) if points_of(results, one)), None)
    if cost is None:
        return None
    found = sorted(points_of(results, cost), key=lambda one: (not one.is_on_front, one.cost))
    rows: list[list[object]] = [
        [
            one.label,
            one.mean,
            one.cost / cost.unit,
            place(results, one),
            "" if one.on_front is None else one.on_front,
        ]
        for one in found
    ]
    notes = [
        f"Front: nothing that costs no more (within {100 * (EQUAL - 1):.0f} %) has a higher score on "
        f"{named(results.scope)}. Sure: on the front in so many draws of other test items and seeds."
    ]
    sure = ("sure", Format("{:.0f} %", scale=100))
    header: Header = ["arm", ("score", PERCENT), (cost.column, Format("{:,.3g}")), "place", sure]
    return Table("The front of score against cost", header, rows, notes, num_first=4)


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
