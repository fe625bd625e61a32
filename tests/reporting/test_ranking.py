"""The order of many arms, and how sure it is."""

from __future__ import annotations

import numpy as np
import pytest
from fabricated import Arm

from pgsbench.reporting.ranking import ranking, surely_better
from pgsbench.reporting.results import Results
from pgsbench.reporting.study_frames import read_frames


def test_clear_leads_have_one_rank_and_equals_share_theirs(fabricate):
    arms = {"a": Arm(), "b": Arm(), "c": Arm(-30.0), "oracle": Arm(15.0), "d": Arm(15.0)}
    order = ranking(Results(read_frames(fabricate(arms, seeds=(0, 1, 2), seed_sd=0.0))))
    assert {one.label: one.ranks for one in order} == {"d": "1", "a": "2-3", "b": "2-3", "c": "4"}
    assert [one.mean for one in order] == sorted((one.mean for one in order), reverse=True)
    assert sum(one.best for one in order) == pytest.approx(1)
    assert order[0].best > 0.97


def test_ranks_are_written_as_intervals_and_two_arms_have_none(fabricate):
    results = Results(read_frames(fabricate({"a": Arm(), "b": Arm(), "c": Arm(-30.0)}, seeds=(0, 1))))
    assert [one.ranks for one in ranking(results)] == ["1-2", "1-2", "3"]
    assert ranking(Results(read_frames(fabricate({"a": Arm(), "b": Arm()}, name="two")))) == []


def test_all_ranks_of_a_study_hold_together():
    rng, wrong, told = np.random.default_rng(0), 0, 0
    truth, deviations = np.array([0.0, 0.0, 0.0, 0.5, 1.0, 4.0]), np.array([1.0, 0.5, 1.0, 1.0, 2.0, 1.0])
    for _ in range(400):
        means = truth + deviations * rng.standard_normal(6)
        draws = means + deviations * rng.standard_normal((500, 6))
        is_better = surely_better(means, draws)
        wrong += bool((is_better & (truth[:, None] <= truth)).any())
        told += bool(is_better[5, :3].all())
    assert wrong <= 28  # 5 % and two standard errors; pair by pair at 97.5 % it would be 13 %
    assert told >= 100


def test_arms_with_the_same_answers_are_not_ordered():
    means, noise = np.array([0.5, 0.5, 0.1]), np.random.default_rng(0).standard_normal((500, 1))
    draws = means + 0.01 * noise * np.array([1.0, 1.0, 2.0])
    assert surely_better(means, draws).sum(axis=1).tolist() == [1, 1, 0]
