"""Ours beside the paper's: which arm is which of its methods, its cells, and that they are labelled."""

from __future__ import annotations

from dataclasses import replace

import pytest
from fabricated import Arm

from pgsbench.config.schema import RunConfig
from pgsbench.evaluation.suite import load_suite
from pgsbench.records.scores import Score, Scores
from pgsbench.records.study_record import StudyRecord
from pgsbench.reporting.pages.published import (
    SUITES,
    averages,
    beside_paper,
    cells_table,
    means_table,
    method_of,
    published,
)
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


def test_averages_that_do_not_follow_from_their_cells_are_known():
    """Golden: arXiv 2503.17080; by hand CLIP's five OOD cells make 149.6 / 5 = 29.92, not 29.0."""
    printed = [average for average in averages() if average.printed]
    assert len(printed) == 6
    assert {average.table for average in averages() if not average.printed} == {
        "zero shot retrieval",
        "linear probing",
    }
    ood = next(average for average in printed if average.name == "OOD average")
    assert ood.printed["CLIP"] == pytest.approx(0.290)
    assert sum(ood.cells("CLIP")) / 5 == pytest.approx(0.2992)
    astray = {
        (average.name, method)
        for average in printed
        for method in average.printed
        if not average.follows(method)
    }
    assert astray == {
        ("OOD average", "CLIP"),
        ("OOD average", "A-CLIP"),
        ("object average", "CLIP"),
        ("object average", "A-CLIP"),
        ("attribute average", "E-CLIP"),
    }
    # Within rounding: 30.95 is printed as 31.0.
    assert next(average for average in printed if average.name == "ID average").follows("CLIP")


def test_each_cell_of_a_table_with_averages_is_in_one_of_them():
    for (_, task, _), (table, _) in published().items():
        assert any(average.of(table, task) for average in averages()), task


def test_ours_stands_beside_the_papers_with_the_difference(fabricate):
    study = fabricate({"pgs": Arm(strategy={"max_ratio": None}), "grid": Arm()}, seeds=(0, 1), num_items=8)
    assert beside_paper(Results(read_frames(study))) == []  # scenes are none of the paper's

    for planned in StudyRecord.read(study).runs:
        path, gain = study.parent / planned.directory, 0.02 * planned.spec.seed
        scores = [
            Score(task, "robustness-id", "zero_shot", "acc1", value + gain, 8, 0, 1, 0.001, True)
            for task, value in (("imagenet1k", 0.30), ("imagenetv2", 0.20))
        ]
        replace(Scores.read(path), suite="robustness-6", scores=tuple(scores)).write(path)
    results = Results(read_frames(study))
    found = beside_paper(results)
    assert [(one.label, one.task) for one in found] == [("pgs", "imagenet1k"), ("pgs", "imagenetv2")]
    means, cells = means_table(results, found), cells_table(found)
    assert means is not None
    assert cells is not None
    assert cells.cells()[0] == ["pgs", "imagenet1k", "acc1", "31.0", "38.0", "−7.0"]
    # By hand, over the cells that both have: (31 + 21) / 2 and (38.0 + 32.6) / 2; one cell is OOD.
    assert means.cells() == [
        ["pgs", "robustness, ID average", "CLIP-PGS-0.5", "2 of 6", "26.0", "35.3", "−9.3", "31.6"],
        ["pgs", "robustness, OOD average", "CLIP-PGS-0.5", "1 of 5", "21.0", "32.6", "−11.6", "30.4"],
    ]
    assert not any("†" in note for note in means.notes)  # nothing is marked, so no mark is explained
    clip = means_table(results, [replace(one, method="CLIP") for one in found])
    assert clip is not None
    assert [row[-1] for row in clip.cells()] == ["31.0", "29.0 †"]
    assert clip.notes[-1].startswith("† The paper's average is not the mean of its own cells")
    assert "not measured here" in means.notes[0]
    assert "trained on scenes" in means.notes[0]
    assert "the paper's" in means.names
    assert "the paper's" in cells.names
