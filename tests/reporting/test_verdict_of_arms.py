"""What a verdict says of each label, as MLflow shows it beside the arm."""

from __future__ import annotations

from fabricated import Arm

from pgsbench.records.verdict_record import VerdictRecord
from pgsbench.reporting.pages.first_screen import verdict_record
from pgsbench.reporting.results import Results
from pgsbench.reporting.study_frames import read_frames
from pgsbench.tracking.mlflow_arms import arm_tags


def test_each_arm_of_a_search_over_several_arms_has_its_verdict(fabricate, tmp_path):
    points = [
        (arm, Arm(effect, mask_ratio=ratio, params={"strategy.mask_ratio": ratio}))
        for arm, effect in (("pgs", 20.0), ("flip", 0.0))
        for ratio in (0.25, 0.5)
    ]
    results = Results(read_frames(fabricate([*points, ("none", Arm())])), candidate="pgs", baselines=["flip"])
    verdict_record(results).write(tmp_path)
    verdict = VerdictRecord.read(tmp_path)
    said = {label: arm_tags(label, verdict)["verdict"] for label in results.study.labels}
    assert said == {
        "pgs mask_ratio=0.25": "pgs − flip, mask_ratio=0.25: better",
        "pgs mask_ratio=0.5": "pgs − flip, mask_ratio=0.5: better",
        "flip mask_ratio=0.25": "pgs − flip, mask_ratio=0.25: better",
        "flip mask_ratio=0.5": "pgs − flip, mask_ratio=0.5: better",
        "none": "not compared",
    }
