"""How much of the variance each parameter explains: what the data say, and nothing where they say nothing."""

from __future__ import annotations

import numpy as np
from optuna.distributions import BaseDistribution, FloatDistribution

from pgsbench.execution.adviser import ScoredPoint, importances

SPACE: dict[str, BaseDistribution] = {"a": FloatDistribution(0, 1), "b": FloatDistribution(0, 1)}


def points(num_seeds: int = 1) -> list[ScoredPoint]:
    draws = np.random.default_rng(1).uniform(0, 1, (30, 2))
    return [ScoredPoint({"a": a, "b": b}, [a] * num_seeds) for a, b in draws]


def test_fanova_finds_the_parameter_and_a_few_points_say_nothing() -> None:
    found = importances(points(), SPACE)
    assert found is not None
    assert found.shares["a"] > 0.9
    assert importances(points()[:9], SPACE) is None


def test_it_says_what_it_rests_on() -> None:
    found = importances(points(num_seeds=2), SPACE)
    assert found is not None
    assert (found.num_points, found.num_seeds) == (30, 2)


def test_equal_scores_have_no_important_parameter() -> None:
    same = [ScoredPoint(point.params, [0.5]) for point in points()]
    assert importances(same, SPACE) is None
