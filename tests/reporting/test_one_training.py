"""Copies of one training count once, and every output says one verdict."""

from __future__ import annotations

import numpy as np
import pytest
from fabricated import Arm

from pgsbench.reporting.answer import verdict_record
from pgsbench.reporting.badges import badges
from pgsbench.reporting.decision.comparisons import decisions, group_comparisons
from pgsbench.reporting.findings import Findings
from pgsbench.reporting.results import Results
from pgsbench.reporting.statistics.comparison import SAME
from pgsbench.reporting.statistics.intervals import difference, mean_draws
from pgsbench.reporting.statistics.paired_values import PairedValues
from pgsbench.reporting.statistics.task_values import TaskValues
from pgsbench.reporting.study_frames import read_frames


def values_of(arms: int, *, seeds: int = 3, items: int = 300) -> dict:
    rng = np.random.default_rng(0)
    names = np.arange(items).astype(str)
    return {
        f"a{k}": {
            seed: {"t": TaskValues((rng.random(items) < 0.5 + rng.normal(0, 0.05)).astype(float), names)}
            for seed in range(seeds)
        }
        for k in range(arms)
    }


def test_copies_of_a_training_make_no_interval_narrower():
    values = values_of(3)
    copies = {**values, "copy": values["a1"], "another": values["a1"]}
    alone, joined = (PairedValues.build(found, {"t": 1.0}, ["a0", "a1"]) for found in (values, copies))
    for pair in (("a0", "a1"), ("a0", "a2")):
        assert difference(joined, *pair) == difference(alone, *pair)
    assert difference(joined, "a0", "copy") == difference(joined, "a0", "a1")
    same = difference(joined, "copy", "a1")
    assert (same.estimate, same.low, same.high) == (0.0, 0.0, 0.0)
    assert np.isnan(same.p_value)
    drawn = mean_draws(joined, ["copy", "a0", "a1"], 50, np.random.default_rng(0))
    assert (drawn["copy"] == drawn["a1"]).all()


@pytest.fixture
def copied(fabricate, monkeypatch):
    study = read_frames(fabricate({"pgs": Arm(12.0), "flip": Arm(), "random": Arm()}))
    values = dict(study.values)
    values["random"] = values["flip"]
    study.__dict__["values"] = values
    return study


def test_a_report_says_which_arms_are_one_training(copied):
    results = Results(copied)
    assert results.copies == [["flip", "random"]]
    assert any(one.sentence.startswith("flip and random are one training") for one in badges(results))
    against = Results(copied, candidate="flip")
    found = {one.baseline: one for one in decisions(against)}
    assert found["random"].outcome == SAME
    alone = decisions(Results(copied, candidate="flip", baselines=["pgs"]))
    assert found["pgs"].adjusted_p == alone[0].adjusted_p  # no copy is in Holm's family


def test_all_outputs_say_one_verdict(fabricate):
    study = read_frames(
        fabricate({"pgs": Arm(), "flip": Arm(), "none": Arm(20.0)}, num_items=4000, seed_sd=0.0)
    )
    results = Results(study, candidate="pgs")
    frame = Findings(results).differences.set_index(["of", "baseline"])
    compared = [one for one in group_comparisons(results) if one.of == "mean of groups"]
    record = verdict_record(results)
    for one, decided in zip(compared, decisions(results), strict=True):
        row = frame.loc[("mean of groups", one.baseline)]
        assert row["verdict"] == one.outcome == decided.outcome == record.outcomes[one.pair]
        assert row["p_value_holm"] == decided.adjusted_p
