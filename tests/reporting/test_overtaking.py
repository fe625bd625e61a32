"""Where one curve of scores crosses another: known crossings are found again, and covered."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from pgsbench.errors import StudyError
from pgsbench.reporting.statistics.overtaking import CAUTION, UNITS, overtaking

BUDGETS = 2.0 ** np.arange(1, 9)


def curves(seeds: int, noise: float = 0.0, *, steeper: float = 0.03, seed: int = 0) -> pd.DataFrame:
    """Return curves of two arms that cross at a budget of 16, by two tasks."""
    rng = np.random.default_rng(seed)
    rows, columns = [], ["label", "seed", "step", "task", "score"]
    for label, slope in (("new", steeper + 0.02), ("old", 0.02)):
        for number in range(seeds):
            lift = rng.normal(0, noise)
            for step, budget in enumerate(BUDGETS):
                score = 0.5 + slope * (np.log2(budget) - 4) + lift
                both = (("a", 0.1), ("b", -0.1))
                rows += [(label, number, step, task, score + at, *[budget] * 4) for task, at in both]
    return pd.DataFrame(rows, columns=[*columns, *UNITS])


def test_the_budget_where_two_curves_cross_is_found_again() -> None:
    found = overtaking(curves(3, 0.01), "new", "old")
    assert found.num_seeds == 3
    assert (found.first, found.last) == (2.0, 256.0)
    assert found.at is not None
    assert found.low is not None
    assert found.high is not None
    assert found.low < found.at < found.high
    exact = overtaking(curves(2), "new", "old", unit="samples")
    assert exact.at == pytest.approx(16, rel=0.02)
    assert exact.words.endswith(CAUTION)
    assert exact.words.startswith("new overtakes old at 16")
    as_flops = curves(2).assign(flops=lambda rows: 1e12 * rows["flops"])
    assert overtaking(as_flops, "new", "old").finding == exact.finding.replace("pairs", "TFLOP")


def test_its_interval_covers_as_often_as_it_says() -> None:
    inside = 0
    for repetition in range(200):
        found = overtaking(curves(4, 0.02, seed=repetition), "new", "old")
        inside += (found.low or 0.0) <= 16 <= (found.high or np.inf) and found.at is not None
    assert 0.91 <= inside / 200 <= 0.98


def test_one_seed_has_no_interval_and_who_stays_behind_overtakes_nobody() -> None:
    alone = overtaking(curves(1), "new", "old")
    assert (alone.low, alone.high) == (None, None)
    assert alone.budget.endswith(" (no interval)")
    never = overtaking(curves(2), "old", "new", unit="samples")
    assert never.at is None
    assert "old is not ahead of new after 256 pairs (2 seeds)." in never.words
    always = curves(2)
    always.loc[always["label"] == "new", "score"] += 0.5
    first = overtaking(always, "new", "old", unit="samples")
    assert first.at == 2.0
    assert first.finding == (
        "new leads old from the first budget on that both were measured at, 2 pairs "
        "(95 % interval before it to 2, 2 seeds)."
    )


def test_arms_that_were_measured_on_other_tasks_are_compared_on_those_of_both() -> None:
    found = curves(2)
    more = found[(found["label"] == "new") & (found["task"] == "a")].assign(task="easy", score=0.99)
    half = found[~((found["label"] == "old") & (found["step"] == 7) & (found["task"] == "b"))]
    mixed = overtaking(pd.concat([half, more]), "new", "old", unit="samples")
    assert mixed.at == pytest.approx(16, rel=0.02)
    assert mixed.last == 128  # where a task was not measured the mean is of others


@pytest.mark.parametrize(("label", "unit"), [("nobody", "flops"), ("old", "euros")])
def test_what_was_not_measured_is_named(label: str, unit: str) -> None:
    with pytest.raises(StudyError):
        overtaking(curves(2), "new", label, unit=unit)
