"""Ours beside the paper's: which arm is which of its methods, its cells, and that they are labelled."""

from __future__ import annotations

from dataclasses import replace

import pytest
from fabricated import Arm

from pgsbench.config.schema import RunConfig
from pgsbench.evaluation.suite import load_suite
from pgsbench.records.scores import Score, Scores
from pgsbench.records.study_record import StudyRecord
from pgsbench.reporting.pages.published import SUITES, method_of, paper_table, published
from pgsbench.reporting.results import Results
from pgsbench.reporting.study_frames import read_frames


def strategy(**fields):
    return RunConfig.model_validate({"strategy": fields}).strategy


def test_an_arm_has_the_papers_name_only_with_the_papers_settings():
    assert method_of(strategy(name="none")) == "CLIP"
    assert method_of(strategy(name="flip", mask_ratio=0.5)) == "FLIP"
    assert method_of(strategy(name="flip", mask_ratio=0.75)) == ""
    assert method_of(strategy(name="pgs", mask_ratio=0.5)) == "CLIP-PGS-0.5"
    assert method_of(strategy(name="pgs", mask_ratio=0.3, max_ratio=0.5)) == "CLIP-PGS-0.3"
    assert method_of(strategy(name="pgs", mask_ratio=0.3)) == ""
    assert method_of(strategy(name="grid", mask_ratio=0.5)) == ""


def test_every_cell_is_of_a_task_and_metric_of_our_suites():
    known = {
        (task.name, metric)
        for suite in SUITES
        for task in load_suite(suite).tasks
        for metric in getattr(task.protocol, "metrics", ())
    }
    cells = published()
    assert len(cells) == 306
    assert {key[1:] for key in cells} <= known
    # arXiv 2503.17080: zero-shot accuracy on ImageNet-1k.
    assert cells["CLIP-PGS-0.3", "imagenet1k", "acc1"] == ("robustness", 0.386)
    assert cells["FLIP", "imagenet1k", "acc1"][1] == pytest.approx(0.344)


def test_ours_stands_beside_the_papers_with_the_difference(fabricate):
    study = fabricate({"pgs": Arm(strategy={"max_ratio": None}), "grid": Arm()}, seeds=(0, 1), num_items=8)
    assert paper_table(Results(read_frames(study))) is None  # scenes are none of the paper's
    for planned in StudyRecord.read(study).runs:
        path, gain = study.parent / planned.directory, 0.02 * planned.spec.seed
        scores = [
            Score(task, "robustness-id", "zero_shot", "acc1", value + gain, 8, 0, 1, 0.001, True)
            for task, value in (("imagenet1k", 0.30), ("imagenetv2", 0.20))
        ]
        replace(Scores.read(path), suite="robustness-6", scores=tuple(scores)).write(path)
    table = paper_table(Results(read_frames(study)))
    assert table is not None
    # The mean by hand: (31 + 21) / 2 and (38.0 + 32.6) / 2.
    assert table.cells() == [
        ["pgs", "CLIP-PGS-0.5", "robustness", "mean of 2", "26.0", "35.3", "−9.3"],
        ["pgs", "CLIP-PGS-0.5", "imagenet1k", "acc1", "31.0", "38.0", "−7.0"],
        ["pgs", "CLIP-PGS-0.5", "imagenetv2", "acc1", "21.0", "32.6", "−11.6"],
    ]
    assert "not measured here" in table.notes[0]
    assert "trained on scenes" in table.notes[0]
    assert "the paper's" in table.names
