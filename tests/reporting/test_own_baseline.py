"""An arm is never its own baseline, and a list of baselines has names in it, each once."""

from __future__ import annotations

import numpy as np
import pytest
from fabricated import Arm

from pgsbench.cli import past, studies
from pgsbench.errors import ConfigError, StudyError
from pgsbench.reporting.decision.comparisons import comparisons_frame
from pgsbench.reporting.results import Results
from pgsbench.reporting.statistics.intervals import difference
from pgsbench.reporting.statistics.paired_values import PairedValues
from pgsbench.reporting.statistics.task_values import TaskValues
from pgsbench.reporting.study_frames import read_frames
from pgsbench.study.objective import check_baselines

TAU = "strategy.tau"
POINTS = [("pgs", Arm(k, params={TAU: k / 10})) for k in (1, 2)]
COMMANDS = ((past, "report", "masks"), (studies, "plan", "masks", "--power"))


@pytest.fixture
def masks(fabricate):
    return fabricate({"pgs": Arm(), "flip": Arm()}, seeds=(0,))


def command(app, *words: str) -> None:
    app.app([*words], standalone_mode=False)


def test_a_candidate_among_its_baselines_is_refused(masks, fabricate):
    for names in (["pgs"], ["flip", "pgs"]):
        with pytest.raises(StudyError, match=r"masks: an arm cannot be compared with itself .*'pgs'"):
            Results(read_frames(masks), baselines=names)
    search = {"space": {TAU: [0.1, 0.2]}}
    searched = read_frames(fabricate([*POINTS, ("flip", Arm())], search=search, seeds=(0,), name="searched"))
    with pytest.raises(StudyError, match="an arm cannot be compared with itself"):
        Results(searched, candidate="pgs", baselines=["pgs tau=0.1"])
    of_a_point = Results(searched, candidate="pgs tau=0.1")
    assert of_a_point.pairs == [("pgs tau=0.1", "flip")], "its own arm is none of the others"


@pytest.mark.parametrize("nothing", ["", ",", " , "])
def test_a_list_without_names_is_refused_as_compare_refuses_it(masks, nothing):
    for words in COMMANDS:
        with pytest.raises(ConfigError, match="a comparison needs a baseline"):
            command(*words, "--baselines", nothing, "--output", str(masks.parent.parent))
    assert not (masks.parent.parent / "reports").exists()


def test_a_baseline_counts_once(masks, fabricate):
    # A second time it would double the family of Holm's correction, and with it every p-value.
    with pytest.raises(ConfigError, match=r"baselines: .* each once .*'flip'"):
        Results(read_frames(masks), baselines=["flip", "flip"])
    flips = [("flip", Arm(params={TAU: k / 10})) for k in (1, 2)]
    search = {"space": {TAU: [0.1, 0.2]}, "arms": ["pgs", "flip"]}
    searched = read_frames(fabricate([*POINTS, *flips], search=search, seeds=(0,), name="both"))
    alone, beside = (Results(searched, baselines=names) for names in (["flip"], ["flip", "flip tau=0.1"]))
    assert beside.pairs == alone.pairs
    assert comparisons_frame(beside).equals(comparisons_frame(alone))


def test_a_comparison_that_names_one_twice_is_refused_before_a_training():
    for names in (["flip", "flip"], ["my/spiral.py:Spiral", "./my/spiral.py:Spiral"]):
        with pytest.raises(ConfigError, match="each once"):
            check_baselines(names, "pgs")


def test_an_arm_has_no_lead_over_itself():
    values = TaskValues(np.array([1.0, 0.0, 1.0]), np.array(["a", "b", "c"]))
    paired = PairedValues.build({"pgs": {0: {"task": values}}}, {"task": 1.0}, ["pgs"])
    with pytest.raises(ValueError, match="pgs cannot lead itself"):
        difference(paired, "pgs", "pgs")
