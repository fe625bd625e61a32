"""Single test items in a report: which of them one arm gets, and their pictures."""

from __future__ import annotations

import re
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from fabricated import Arm, replace_runs, replace_scores, write_runs

from pgsbench.evaluation.identity import current_fingerprint
from pgsbench.evaluation.suite import load_suite
from pgsbench.records.scores import Score, Scores
from pgsbench.records.study_record import StudyRecord
from pgsbench.reporting import figures
from pgsbench.reporting.pages.examples import chosen, examples, item_leads
from pgsbench.reporting.pages.study_report import write_report
from pgsbench.reporting.results import Results
from pgsbench.reporting.study_frames import read_frames

KEYS = [str(key) for key in range(1000, 1024)]
#: Arm -> how many of the first pictures it names rightly; from there on it says "red".
GETS = {"pgs": range(12), "flip": range(6, 15)}


@pytest.fixture(scope="module")
def study(tiny, tmp_path_factory) -> Path:
    """Two arms with two seeds, tested on the tiny world: pgs alone gets 1000 to 1005, flip 1012 to 1014."""
    runs = tmp_path_factory.mktemp("examples") / "runs"
    folder = write_runs(runs, {name: Arm() for name in GETS}, seeds=(0, 1), num_items=24)
    fingerprint = current_fingerprint(load_suite(tiny.suite))
    for run in StudyRecord.read(folder).runs:
        path, gets = runs / run.directory, GETS[run.spec.arm]
        right = np.array([float(k in gets) for k in range(24)])
        labels = np.arange(1000, 1024) % 3
        predicted = np.where(right == 1, labels, (labels + 1) % 3)
        outcomes = {"values": right, "correct": right.astype(float), "units": KEYS, "key": ""}
        np.savez(path / "colour.npz", items=KEYS, predicted=predicted, **outcomes)
        np.savez(path / "find.npz", items=[f"{key}#0" for key in KEYS], **outcomes)
        numbers = (float(right.mean()), 24, 0, 1, 0.3, True)
        scores = [
            Score(*named, *numbers, per_sample=file)
            for *named, file in (
                ("tiny/colour", "classification", "zero_shot", "acc1", "colour.npz"),
                ("tiny/retrieval", "retrieval", "retrieval", "image_recall_at_5", "find.npz"),
            )
        ]
        replace(Scores.read(path), scores=tuple(scores), suite_fingerprint=fingerprint).write(path)
    return folder


@pytest.fixture(scope="module")
def results(study, tiny) -> Results:
    return results_of(study, tiny.suite)


@pytest.fixture(autouse=True)
def no_figures(monkeypatch):
    monkeypatch.setattr(figures, "ALL", {})


def results_of(study: Path, suite: Path) -> Results:
    def on(run):
        tested = run.spec.evaluation.model_copy(update={"suite": str(suite)})
        return replace(run, spec=replace(run.spec, evaluation=tested))

    replace_runs(study, on)
    return Results(read_frames(study), baselines=["flip"])


def test_items_that_one_arm_gets_with_every_seed_are_counted(results):
    items = item_leads(results, "pgs", "flip")
    colour = items[items["task"] == "tiny/colour"]
    assert [(colour["lead"] == sign).sum() for sign in (1, -1)] == [6, 3]
    for sign, expected in ((1, KEYS[:6]), (-1, KEYS[12:15])):
        found = chosen(colour, sign=sign, tasks=1, each=9)
        assert sorted(found["item"]) == expected
    few = chosen(colour, sign=1, tasks=1, each=3)
    assert list(few["item"]) != KEYS[:3]  # not simply the first ones


def test_pictures_show_the_right_answer_and_the_wrong_one(results):
    found = examples(results)
    assert found is not None
    assert found.missing == ""
    colours = ["red", "green", "blue"]
    named = [one for one in found.won if one.task == "tiny/colour"]
    assert len(named) == 2
    for one in named:
        assert one.wrong == colours[(colours.index(one.right) + 1) % 3]
        assert one.seeds == "2 : 0"
    assert {one.seeds for one in found.lost} == {"0 : 2"}
    assert found.said.startswith("Of 48 test items only pgs gets 12 with all two seeds, and only flip gets ")


def test_with_other_data_the_page_says_that_there_are_no_pictures(study, tiny, tmp_path):
    study = shutil.copytree(study.parent, tmp_path / "runs") / "masks"
    for run in study.parent.rglob("scores.json"):
        replace_scores(run.parent, lambda score: score, suite_fingerprint="of other pictures")
    report = write_report(results_of(study, tiny.suite), tmp_path / "report")
    html = (report / "report.html").read_text()
    assert "No pictures: their data is not here" in html
    assert "only pgs gets 12 with all two seeds" in html
    assert "data:image" not in html


def test_the_page_shows_them_and_stands_alone(results, tmp_path):
    report = write_report(results, tmp_path / "report")
    html = (report / "report.html").read_text()
    assert html.count('alt="Test picture') == 2 * 4
    assert "pgs gets, flip loses" in html
    assert "flip gets, pgs loses" in html
    assert not re.search(r'src="(?!data:)', html)
