"""The Pareto front of a study: the arms and points that nothing cheaper, or as cheap, beats."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from pgsbench.reporting.columns import Row, rows_of
from pgsbench.reporting.results import Results
from pgsbench.reporting.statistics.comparison import Missing
from pgsbench.reporting.statistics.intervals import Interval, mean_draws
from pgsbench.study.objective import objectives_of

#: Costs up to this factor apart count as equal.
EQUAL = 1.03
#: Draws behind `Point.on_front`.
DRAWS = 4000


class Cost(NamedTuple):
    """A cost that scores are set against.

    Attributes:
        name: Its name in sentences.
        column: Its name in tables, with the unit.
        of: What a run of an arm or point costs in the mean; None where that was not measured.
        axis: What its axis says.
        unit: So much of it is 1 in tables.
    """

    name: str
    column: str
    of: Callable[[Row], float | None]
    axis: str
    unit: float = 1.0


def _tokens(row: Row) -> float | None:
    visual = row.summary.get("visual_tokens")
    return None if visual is None else visual + row.summary.get("text_tokens", 0.0)


def _flops(row: Row) -> float | None:
    return row.summary.get("flops")


def _memory(row: Row) -> float | None:
    return row.summary.get("peak_memory_bytes")


FLOPS = Cost("operations", "TFLOP", _flops, "operations (TFLOP)", 1e12)
TIME = Cost("time", "train s", lambda row: row.seconds, "training time")
TOKENS = Cost("tokens", "10⁶ tokens", _tokens, "tokens (millions)", 1e6)
MEMORY = Cost("memory", "peak GiB", _memory, "peak memory (GiB)", 2.0**30)
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


def _ahead(points: Sequence[Point], scores: np.ndarray) -> np.ndarray:
    """Return (draws, points) the number of the best one that beats each, -1 where there is none.

    Args:
        points: All of them.
        scores: (draws, points) the score of each in each draw.
    """
    ahead = np.empty(scores.shape, dtype=int)
    for number, own in enumerate(points):
        rivals = [one.cost <= EQUAL * own.cost and not one.is_oracle for one in points]
        rivals[number] = True  # which never beats itself
        allowed = np.flatnonzero(rivals)
        best = allowed[scores[:, allowed].argmax(axis=1)]
        is_beaten = scores[np.arange(len(scores)), best] > scores[:, number]
        ahead[:, number] = np.where(is_beaten, best, -1)
    return ahead


def _chances(results: Results, points: Sequence[Point]) -> list[float | None]:
    labels = [one.label for one in points]
    paired = results.pair_up(labels, results.scope)
    if isinstance(paired, Missing):
        return [None] * len(points)
    draws = mean_draws(paired, sorted(labels), DRAWS, np.random.default_rng(0))  # wherever an arm stands
    return list((_ahead(points, draws[labels].to_numpy()) < 0).mean(axis=0))
