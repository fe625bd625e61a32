"""An oracle is a ceiling and no method, whatever its arm is called; so are whole pictures no mask."""

from __future__ import annotations

import pytest
from fabricated import Arm

from pgsbench.reporting.answer import headline
from pgsbench.reporting.badges import badges
from pgsbench.reporting.pareto import FLOPS, points_of
from pgsbench.reporting.ranking import ranking
from pgsbench.reporting.results import Results
from pgsbench.reporting.study_frames import read_frames
from pgsbench.session.confirming import contenders

TERA = 10**12


def arms(oracle="oracle", whole="none"):
    return {
        "pgs": Arm(2.0, flops=30 * TERA),
        "flip": Arm(0.0, flops=20 * TERA),
        "grid": Arm(-8.0, flops=20 * TERA),
        whole: Arm(4.0, mask_ratio=0.0, strategy={"name": "none"}, flops=40 * TERA),
        oracle: Arm(20.0, strategy={"name": "oracle"}, flops=10 * TERA),
    }


@pytest.fixture
def by_strategy(fabricate):
    return Results(read_frames(fabricate(arms("ceiling", "plain"))))


def test_it_has_no_rank_and_is_not_compared_unless_it_is_named(by_strategy):
    study = by_strategy.study
    assert study.oracles == ["ceiling"]
    assert by_strategy.baselines == ["flip", "grid", "plain"]
    assert {one.label for one in ranking(by_strategy)} == {"pgs", "flip", "grid", "plain"}
    assert Results(study, baselines=["flip"]).not_compared == ["grid", "plain"]
    assert Results(study, baselines=["ceiling"]).pairs == [("pgs", "ceiling")]
    said = "ceiling knows where the objects are and is a ceiling, no method."
    assert said in [badge.sentence for badge in badges(by_strategy)]


def test_it_beats_nothing_on_the_pareto_front(by_strategy):
    found = {one.label: one for one in points_of(by_strategy, FLOPS)}
    assert not found["ceiling"].is_on_front
    assert found["ceiling"].on_front is None
    assert not any(one.ahead == "ceiling" for one in found.values())


def test_two_of_them_are_both_told(fabricate):
    more = {name: Arm(-9.0) for name in ("block", "cluster", "random")}  # too many to name each in the answer
    two = {**arms("ceiling"), **more, "low": Arm(9.0, strategy={"name": "oracle", "mask_ratio": 0.75})}
    results = Results(read_frames(fabricate(two, seeds=(0, 1))))
    said = "ceiling and low know where the objects are and are ceilings, no methods."
    assert said in [badge.sentence for badge in badges(results)]
    assert " of 7 (" in headline(results)


def test_a_search_is_not_confirmed_against_it(fabricate):
    points = [("pgs", Arm(10 * k, params={"strategy.tau": k / 10})) for k in (1, 2)]
    search = {"space": {"strategy.tau": [0.1, 0.2]}}
    beside = [("ceiling", arms("ceiling")["ceiling"]), ("none", Arm(mask_ratio=0.0))]
    results = Results(read_frames(fabricate([*points, *beside], search=search, seeds=(0,))))
    assert contenders(results, {}) == ["pgs tau=0.2", "none"]
