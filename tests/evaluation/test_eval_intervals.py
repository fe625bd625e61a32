from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats

from pgsbench.evaluation.intervals import effective_size, group_interval, interval, wilson
from pgsbench.evaluation.protocols.base import Measurement


def measured(
    correct: NDArray[np.float64] | list[float],
    *,
    prefix: str = "item",
    units: list[str] | None = None,
    strata: NDArray[np.int64] | None = None,
) -> Measurement:
    outcomes = np.asarray(correct, dtype=float)
    items = [f"{prefix}{i}" for i in range(len(outcomes))]
    return Measurement("acc1", outcomes, items, 0.1, units=units, strata=strata)


def width(ends: tuple[float, float]) -> float:
    return ends[1] - ends[0]


@pytest.mark.parametrize(("right", "n"), [(8, 10), (0, 20), (20, 20), (431, 1000)])
def test_wilson_is_scipys(right: int, n: int) -> None:
    expected = stats.binomtest(right, n).proportion_ci(method="wilson")
    assert wilson(right / n, n) == pytest.approx((expected.low, expected.high), abs=1e-6)
    values = [1.0] * right + [0.0] * (n - right)
    assert interval(measured(values)) == pytest.approx((expected.low, expected.high), abs=1e-6)


def test_copies_of_an_item_add_no_certainty() -> None:
    rng = np.random.default_rng(0)
    plain = (rng.random(200) < 0.4).astype(float)
    copied = measured(np.repeat(plain, 5), units=[f"image{i}" for i in range(200) for _ in range(5)])
    assert effective_size(copied) == pytest.approx(200, rel=0.01)
    assert interval(copied) == pytest.approx(interval(measured(plain)), abs=1e-3)


def test_independent_items_of_a_unit_count_each() -> None:
    rng = np.random.default_rng(0)
    many = measured((rng.random(5000) < 0.4).astype(float), units=[f"image{i // 5}" for i in range(5000)])
    assert effective_size(many) > 4000


def test_a_perfect_score_rests_on_units() -> None:
    low, high = interval(measured(np.ones(50), units=[f"image{i // 5}" for i in range(50)]))
    assert (low, high) == pytest.approx(wilson(1.0, 10))


def test_intervals_hold_what_they_promise() -> None:
    """Of 400 clustered samples about 95 % of the intervals hold the truth (binomial 3 sigma: 3.3 %)."""
    rng = np.random.default_rng(1)
    units = [f"image{i // 4}" for i in range(320)]
    held = 0
    for _ in range(400):
        difficulty = rng.beta(2, 3, size=80)
        low, high = interval(
            measured((rng.random(320) < np.repeat(difficulty, 4)).astype(float), units=units)
        )
        held += low <= 0.4 <= high
    assert 0.917 <= held / 400 <= 0.983


def test_mean_per_class_recall_weighs_classes_equally() -> None:
    strata = np.array([0] * 90 + [1] * 10)
    found = measured([1.0] * 90 + [1.0] * 2 + [0.0] * 8, strata=strata)
    assert found.value == pytest.approx((1.0 + 0.2) / 2)
    low, high = interval(found)
    # All the doubt is in the ten: half of theirs, about +- 1.96 * sqrt(0.16 / 10) / 2.
    assert width((low, high)) == pytest.approx(2 * 1.96 * np.sqrt(0.16 / 10) / 2, rel=0.2)


def test_the_same_items_twice_are_not_twice_as_sure() -> None:
    rng = np.random.default_rng(2)
    right = (rng.random(400) < 0.5).astype(float)
    alone = width(interval(measured(right)))
    same = width(group_interval([measured(right), measured(right)]))
    other = (rng.random(400) < 0.5).astype(float)
    apart = width(group_interval([measured(right), measured(other, prefix="other")]))
    assert same == pytest.approx(alone, rel=0.1)
    assert apart == pytest.approx(alone / np.sqrt(2), rel=0.1)


def test_items_are_matched_by_name_and_not_by_place() -> None:
    rng = np.random.default_rng(4)
    right = (rng.random(400) < 0.5).astype(float)
    order = rng.permutation(400)
    shuffled = Measurement("acc1", right[order], [f"item{i}" for i in order], 0.1)
    together = width(group_interval([measured(right), shuffled]))
    assert together == pytest.approx(width(interval(measured(right))), rel=0.1)


def test_equal_names_of_unrelated_items_change_nothing_much() -> None:
    rng = np.random.default_rng(3)
    first, second = (rng.random((2, 2000)) < 0.5).astype(float)
    named_alike = width(group_interval([measured(first), measured(second)]))
    apart = width(group_interval([measured(first), measured(second, prefix="other")]))
    assert named_alike == pytest.approx(apart, rel=0.1)


@pytest.mark.parametrize("right", [0.0, 1.0])
def test_a_mean_over_classes_is_never_certain(right: float) -> None:
    alike = measured(np.full(60, right), strata=np.arange(60) % 3)
    assert interval(alike) == wilson(right, 60)


def test_a_group_of_one_has_its_tasks_interval() -> None:
    only = measured([1.0, 0.0, 1.0, 1.0])
    assert group_interval([only]) == interval(only)


def test_a_perfect_group_is_not_certain() -> None:
    low, high = group_interval([measured(np.ones(20)), measured(np.ones(20), prefix="other")])
    assert high == 1.0
    assert low == pytest.approx(wilson(1.0, 40)[0])


def test_intervals_are_repeatable() -> None:
    strata = np.arange(60) % 3
    correct = (np.arange(60) % 7 < 3).astype(float)
    first, second = (interval(measured(correct, strata=strata)) for _ in range(2))
    assert first == second
