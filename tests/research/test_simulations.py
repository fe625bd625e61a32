"""Simulations of decisions and of seeds: errors are as rare as promised, and looking naively is not."""

from __future__ import annotations

from research import simulate_seeds
from research.simulate_decisions import World, follow_forecasts, simulate


def test_what_is_foretold_comes_true() -> None:
    found = follow_forecasts(World(2, 2.5, 3.0), repeats=20)
    assert found.told > 0
    assert found.seeds > 8
    assert found.decided > 0.6


def test_errors_are_rare_and_looking_naively_is_not() -> None:
    ours = simulate(World(2, 0.7, 0.0), repeats=400)
    naive = simulate(World(2, 0.7, 0.0), repeats=400, naive=True)
    assert ours.differs < 0.06 < 0.08 < naive.differs
    assert simulate(World(2, 0.7, 1.0), repeats=400).equivalent < 0.05
    far = simulate(World(5, 0.7, 3.0), repeats=100)
    assert far.better > 0.95
    assert far.seeds < 5.5


def test_a_borrowed_seed_spread_narrows_intervals_that_still_hold_the_truth() -> None:
    alone, lent = (simulate_seeds.simulate(2, 3, repeats=400, borrows=borrows) for borrows in (False, True))
    assert alone.covered.mean() > 0.92
    assert lent.covered.mean() > 0.92
    assert lent.width.mean() < 0.8 * alone.width.mean()
