"""The order of many arms, and how sure it is."""

from __future__ import annotations

import pytest
from fabricated import Arm

from pgsbench.reporting.ranking import ranking, ranking_table
from pgsbench.reporting.results import Results
from pgsbench.reporting.study_frames import read_frames


def test_clear_leads_are_ranks_and_equals_are_ties(fabricate):
    arms = {"a": Arm(), "b": Arm(), "c": Arm(-30.0), "oracle": Arm(15.0), "d": Arm(15.0)}
    order = ranking(Results(read_frames(fabricate(arms, seeds=(0, 1, 2), seed_sd=0.0))))
    assert order[0].label == "d"
    assert {one.label: one.rank for one in order} == {"d": 1, "a": 2, "b": 2, "c": 4}
    assert sum(one.best for one in order) == pytest.approx(1)
    assert order[0].best > 0.97
    assert (order[-1].low, order[-1].high) == (4, 4)
    assert all(one.low <= 2 <= one.high for one in order[1:3])


def test_the_table_writes_ties_and_two_arms_have_none(fabricate):
    results = Results(read_frames(fabricate({"a": Arm(), "b": Arm(), "c": Arm(-30.0)}, seeds=(0, 1))))
    ranks = {row[0]: row[1] for row in ranking_table(results).rows}
    assert ranks["c"] == "3"
    assert {ranks["a"], ranks["b"]} in ({"1="}, {"1", "2"})
    assert ranking_table(Results(read_frames(fabricate({"a": Arm(), "b": Arm()}, name="two")))) is None
