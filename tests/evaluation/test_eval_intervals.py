"""Intervals of one score and of a group: against textbooks, and by simulation against the truth.

``python tests/evaluation/test_eval_intervals.py`` prints the coverage in docs/statistics.md (half a minute).
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats

from pgsbench.evaluation.protocols.base import Measurement
from pgsbench.evaluation.scoring import group_interval, interval, wilson


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
    assert interval(copied) == pytest.approx(interval(measured(plain)), abs=1e-9)


def test_values_that_are_no_shares_count_by_how_much_they_vary() -> None:
    """A jackknife's pseudo-values lie outside [0, 1]; their mean is as sure as their variance says."""
    values = np.random.default_rng(0).normal(0.4, 3.0, size=20_000)
    found = measured(values)
    assert width(interval(found)) == pytest.approx(2 * 1.96 * values.std() / np.sqrt(20_000), rel=0.01)


@pytest.mark.parametrize("right", [0.0, 1.0])
def test_a_mean_over_classes_is_never_certain(right: float) -> None:
    low, high = interval(measured(np.full(60, right), strata=np.arange(60) % 3))
    ends = wilson(right, 60)
    assert (low == 0.0) if right == 0.0 else (high == 1.0)
    assert width(ends) < high - low < 2 * width(ends)


def test_a_perfect_group_is_as_sure_as_its_smallest_task() -> None:
    small = measured(np.ones(10))
    low, high = group_interval([small, measured(np.ones(10_000), prefix="other")])
    assert high == 1.0
    assert low < 1 - (1 - 0.76) / 2  # a task at 0.76 is all right in 10 of 10 with 6 %


def test_a_group_says_the_same_as_price_and_bonett() -> None:
    """Independent tasks of one size: one right and one wrong pseudo-item for each of two tasks."""
    right, n = np.array([180, 130]), 200
    found = group_interval([measured([1.0] * r + [0.0] * (n - r), prefix=f"{r}-") for r in right])
    level = (right + 1) / (n + 2)
    reach = 1.96 * np.sqrt((level * (1 - level) / (n + 2)).sum()) / 2
    expected = level.mean() - reach, level.mean() + reach
    assert found == pytest.approx(expected, abs=5e-4)  # ours has one more item's spread in each task


def coverage(draw: Callable[[np.random.Generator], list[Measurement]], truth: float, repeats: int) -> float:
    """Return how many of the intervals of `repeats` drawn groups hold the truth."""
    rng = np.random.default_rng(5)
    ends = np.array([group_interval(draw(rng)) for _ in range(repeats)])
    return float(np.mean((ends[:, 0] <= truth) & (truth <= ends[:, 1])))


def apart(shares: list[float], sizes: list[int]) -> Callable[[np.random.Generator], list[Measurement]]:
    """Tasks on pictures of their own."""
    return lambda rng: [
        measured(rng.random(n) < share, prefix=f"{k}-")
        for k, (share, n) in enumerate(zip(shares, sizes, strict=True))
    ]


def together(
    shares: list[float], n: int, picture_sd: float
) -> Callable[[np.random.Generator], list[Measurement]]:
    """Tasks that all ask about the same pictures, which are easy or hard for all of them."""
    levels = stats.norm.ppf(shares) * np.hypot(1, picture_sd)

    def draw(rng: np.random.Generator) -> list[Measurement]:
        picture = rng.normal(0, picture_sd, n)
        return [measured(level + picture + rng.normal(size=n) > 0) for level in levels]

    return draw


def by_class(shares: list[float], sizes: list[int]) -> Callable[[np.random.Generator], list[Measurement]]:
    """One task whose metric is the mean over classes."""
    strata, of_item = np.repeat(np.arange(len(sizes)), sizes), np.repeat(shares, sizes)
    return lambda rng: [measured(rng.random(len(strata)) < of_item, strata=strata)]


_SOME = np.random.default_rng(1)
MANY_CLASSES = _SOME.beta(8, 2, 100).tolist(), _SOME.integers(1, 21, 100).tolist()

#: What is drawn, and its true mean.
WORLDS = {
    "two tasks: 50 % of 500, 70 % of 500": (apart([0.5, 0.7], [500, 500]), 0.6),
    "two tasks: 97 % of 30, 50 % of 2,000": (apart([0.97, 0.5], [30, 2000]), 0.735),
    "two tasks: 82 % of 10, 99.99 % of 10,000": (apart([0.82, 0.9999], [10, 10_000]), 0.90995),
    "ten tasks: 95 % of 200": (apart([0.95] * 10, [200] * 10), 0.95),
    "four tasks on the same 200 pictures: 95 %": (together([0.95] * 4, 200, 1.0), 0.95),
    "four tasks on the same 200: 50, 70, 90, 99 %": (together([0.5, 0.7, 0.9, 0.99], 200, 1.0), 0.7725),
    "four tasks on the same 50, nearly the same answers: 98 %": (together([0.98] * 4, 50, 3.0), 0.98),
    "classes of 10, 10, 10, 970 pictures: 90 %": (by_class([0.9] * 4, [10, 10, 10, 970]), 0.9),
    "classes of 2, 5, 1,000: 80, 90, 95 %": (by_class([0.8, 0.9, 0.95], [2, 5, 1000]), 2.65 / 3),
    "classes of 1 and 9,999: 80, 99 %": (by_class([0.8, 0.99], [1, 9999]), 0.895),
    "100 classes of 1 to 20, about 80 %": (by_class(*MANY_CLASSES), float(np.mean(MANY_CLASSES[0]))),
}


@pytest.mark.parametrize("world", [name for name in WORLDS if "9,999" not in name and "10,000" not in name])
def test_a_groups_interval_holds_what_it_promises(world: str) -> None:
    assert coverage(*WORLDS[world], repeats=150) > 0.90


if __name__ == "__main__":
    for name, (draw, truth) in WORLDS.items():
        print(f"{name:60s} {coverage(draw, truth, repeats=2000):.3f}", flush=True)
