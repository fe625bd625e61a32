"""What samplers draw, from the points that are known and from nothing else."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

from pgsbench.execution.adviser import Adviser, KnownPoint, importances

SPACE = {
    "arm": CategoricalDistribution(["pgs", "flip"]),
    "tau": FloatDistribution(0.05, 1.0, log=True),
    "width": IntDistribution(1, 9),
}


def adviser(sampler: str, **changed: Any) -> Adviser:
    fields: dict[str, Any] = {"distributions": SPACE, "directions": ["maximize"], "seed": 3}
    return Adviser(sampler, **(fields | changed))


def searched(one: Adviser, count: int) -> list[KnownPoint]:
    """Return the points of a search whose score falls with the width, and whose cost rises with it."""
    known: list[KnownPoint] = []
    for _ in range(count):
        drawn: list[dict[str, Any]] = []

        def accept(params: dict[str, Any], drawn: list[dict[str, Any]] = drawn) -> bool:
            if any(params == point.params for point in known):
                return False
            drawn.append(params)
            return True

        assert one.draw(known, accept)
        values = [-abs(drawn[0]["width"] - 7.0), float(drawn[0]["width"])][: len(one.directions)]
        excess = {"train_seconds": drawn[0]["width"] - 5.0}
        known.append(KnownPoint(drawn[0], values, excess))
    return known


@pytest.mark.parametrize("sampler", ["random", "qmc", "tpe", "gp"])
def test_points_are_new_lie_in_the_space_and_follow_from_what_is_known(sampler: str) -> None:
    known = searched(adviser(sampler), 9)
    assert len({str(point.params) for point in known}) == 9
    for point in known:
        for name, value in point.params.items():
            assert SPACE[name]._contains(SPACE[name].to_internal_repr(value))
    assert searched(adviser(sampler), 9) == known
    assert searched(adviser(sampler, seed=4), 9) != known


def test_qmc_fills_a_line_more_evenly_than_chance() -> None:
    line = {"x": FloatDistribution(0.0, 1.0)}

    def widest_gap(sampler: str) -> float:
        known: list[KnownPoint] = []

        def accept(params: dict[str, Any]) -> bool:
            is_new = params not in [point.params for point in known]
            if is_new:
                known.append(KnownPoint(params, [0.0]))
            return is_new

        for _ in range(16):
            assert adviser(sampler, distributions=line).draw(list(known), accept)
        xs = sorted(point.params["x"] for point in known)
        return max(after - before for before, after in itertools.pairwise(xs))

    assert widest_gap("qmc") < widest_gap("random")


@pytest.mark.parametrize("sampler", ["tpe", "gp"])
def test_the_best_that_keeps_within_the_limit_is_found(sampler: str) -> None:
    """The score is best at a width of 7, and widths above 5 cost too much."""
    late = searched(adviser(sampler), 18)[9:]
    assert sum(3 <= point.params["width"] <= 5 for point in late) >= 5  # by chance 3


def test_fanova_finds_the_parameter_and_says_nothing_of_few_points_or_equal_scores() -> None:
    square = {"a": FloatDistribution(0, 1), "b": FloatDistribution(0, 1)}
    draws = np.random.default_rng(1).uniform(0, 1, (30, 2))
    points = [KnownPoint({"a": a, "b": b}, [a, b]) for a, b in draws]  # the first objective counts
    found = importances([*points, KnownPoint({"a": 0.5, "b": 0.5})], 2, square)
    assert found is not None
    assert found.shares["a"] > 0.9
    assert (found.num_points, found.num_seeds) == (30, 2)
    assert importances(points[:9], 2, square) is None
    assert importances([KnownPoint(point.params, [0.5]) for point in points], 2, square) is None
