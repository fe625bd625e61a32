"""Where one curve of scores crosses another: known crossings are found again, and covered."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from pgsbench.errors import StudyError
from pgsbench.reporting.statistics.overtaking import CAUTION, overtaking

BUDGETS = 2.0 ** np.arange(1, 9)


def curves(seeds: int, noise: float = 0.0, *, steeper: float = 0.03, seed: int = 0) -> pd.DataFrame:
    """Return curves of two arms that cross at a budget of 16, by two tasks."""
    rng = np.random.default_rng(seed)
    rows = []
    for label, slope in (("new", steeper + 0.02), ("old", 0.02)):
        for number in range(seeds):
            lift = rng.normal(0, noise)
            for budget in BUDGETS:
                score = 0.5 + slope * (np.log2(budget) - 4) + lift
                rows += [(label, number, budget, task, score + at) for task, at in (("a", 0.1), ("b", -0.1))]
    return pd.DataFrame(rows, columns=["label", "seed", "flops", "task", "score"])


def test_the_budget_where_two_curves_cross_is_found_again() -> None:
    found = overtaking(curves(3, 0.01), "new", "old")
    assert found.num_seeds == 3
    assert (found.first, found.last) == (2.0, 256.0)
    assert found.at is not None
    assert found.low is not None
    assert found.high is not None
    assert found.low < found.at < found.high
    exact = overtaking(curves(2), "new", "old")
    assert exact.at == pytest.approx(16, rel=0.02)
    assert exact.words.endswith(CAUTION)
    assert "new is ahead of old at 16" in exact.words


def test_its_interval_covers_as_often_as_it_says() -> None:
    inside = 0
    for repetition in range(400):
        found = overtaking(curves(4, 0.02, seed=repetition), "new", "old")
        inside += (found.low or 0.0) <= 16 <= (found.high or np.inf) and found.at is not None
    assert 0.91 <= inside / 400 <= 0.98


def test_one_seed_has_no_interval_and_who_stays_behind_overtakes_nobody() -> None:
    alone = overtaking(curves(1), "new", "old")
    assert (alone.low, alone.high) == (None, None)
    assert "before what was measured to after it; 1 seed" in alone.words
    never = overtaking(curves(2), "old", "new")
    assert never.at is None
    assert "old is not ahead of new after 256 operations (2 seeds)." in never.words
    always = curves(2)
    always.loc[always["label"] == "new", "score"] += 0.5
    assert overtaking(always, "new", "old").at == 2.0


@pytest.mark.parametrize(("label", "unit"), [("nobody", "flops"), ("old", "euros")])
def test_what_was_not_measured_is_named(label: str, unit: str) -> None:
    with pytest.raises(StudyError):
        overtaking(curves(2), "new", label, unit=unit)
