"""How much of the variance each parameter explains: what the data say, and nothing where they say nothing."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution

from pgsbench.execution.importance import SEEDS, TOGETHER, ScoredPoint
from pgsbench.execution.importance import importances as told

ARMS, RATIOS = ("pgs", "flip"), (0.25, 0.5, 0.75)
GRID: dict[str, BaseDistribution] = {
    "arm": CategoricalDistribution(ARMS),
    "strategy.mask_ratio": CategoricalDistribution(RATIOS),
}


def importances(points: list[ScoredPoint], space: dict[str, BaseDistribution]) -> dict[str, float]:
    found = told(points, space)
    return found.shares if found else {}


def grid(value: object, seeds: int = 1) -> list[ScoredPoint]:
    assert callable(value)
    return [
        ScoredPoint({"arm": arm, "strategy.mask_ratio": ratio}, [value(arm, ratio) for _ in range(seeds)])
        for arm, ratio in itertools.product(ARMS, RATIOS)
    ]


def test_the_parameter_that_moves_the_score_is_the_important_one() -> None:
    by_arm = importances(grid(lambda arm, _: float(arm == "pgs")), GRID)
    assert by_arm == pytest.approx({"arm": 1.0, "strategy.mask_ratio": 0.0, TOGETHER: 0.0})
    by_ratio = importances(grid(lambda _, ratio: ratio), GRID)
    assert by_ratio == pytest.approx({"strategy.mask_ratio": 1.0, "arm": 0.0, TOGETHER: 0.0})
    assert next(iter(by_ratio)) == "strategy.mask_ratio"


def test_a_score_that_only_their_interplay_moves_is_nobodys() -> None:
    found = importances(grid(lambda arm, ratio: (ratio - 0.5) * (1 if arm == "pgs" else -1)), GRID)
    assert found[TOGETHER] == pytest.approx(1.0)


def test_of_noise_between_seeds_no_parameter_gets_much() -> None:
    rng = np.random.default_rng(0)
    found = importances(grid(lambda *_: rng.normal(), seeds=20), GRID)
    assert found[SEEDS] > 0.85
    assert sum(found.values()) == pytest.approx(1.0)


def test_shares_are_those_of_a_textbook() -> None:
    # Two factors of two levels, two seeds: by hand, sums of squares 8 (arm), 2 (ratio), 0, and 0.16 (seeds).
    cells = {("pgs", 0.25): 3.0, ("pgs", 0.5): 4.0, ("flip", 0.25): 1.0, ("flip", 0.5): 2.0}
    points = [
        ScoredPoint({"arm": arm, "r": ratio}, [mean - 0.1, mean + 0.1])
        for (arm, ratio), mean in cells.items()
    ]
    found = importances(points, {})
    total = 8 + 2 + 8 * 0.01
    assert found == pytest.approx({"arm": 8 / total, "r": 2 / total, TOGETHER: 0.0, SEEDS: 0.08 / total})


def test_off_a_grid_fanova_finds_the_parameter_and_a_few_points_say_nothing() -> None:
    rng = np.random.default_rng(1)
    draws = rng.uniform(0, 1, (30, 2))
    points = [ScoredPoint({"a": a, "b": b}, [a]) for a, b in draws]
    space: dict[str, BaseDistribution] = {"a": FloatDistribution(0, 1), "b": FloatDistribution(0, 1)}
    found = importances(points, space)
    assert found["a"] > 0.9
    assert importances(points[:9], space) == {}


def test_equal_scores_have_no_important_parameter() -> None:
    assert importances(grid(lambda *_: 0.5), GRID) == {}


def test_one_parameter_with_one_seed_explains_everything_by_construction_so_nothing_is_said() -> None:
    def noise(seeds: int) -> list[ScoredPoint]:
        rng = np.random.default_rng(2)
        return [ScoredPoint({"tau": tau}, list(rng.normal(size=seeds))) for tau in (0.1, 0.2, 0.3)]

    assert told(noise(seeds=1), {}) is None
    two = told(noise(seeds=2), {})
    assert two is not None
    assert (two.method, two.num_points, two.num_seeds) == ("analysis of variance", 3, 2)
