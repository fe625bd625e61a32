from __future__ import annotations

import shutil
from dataclasses import replace

import numpy as np
import pytest
from fabricated import replace_runs, replace_scores

from pgsbench.records.study_record import StudyRecord
from pgsbench.reporting.study_frames import OTHER_SUITE, read_frames


def test_tidy_frames(fabricate):
    study = read_frames(fabricate(seeds=(0, 1)))
    assert len(study.runs) == 10
    assert {run.state for run in study.runs} == {"done"}
    assert [run.summary.tokens_kept_over_training for run in study.of("none")] == [64, 64]
    assert list(study.groups) == ["classification", "retrieval", "robustness", "compositionality"]
    assert study.groups["retrieval"] == {"scenes/retrieval": "text_recall_at_5"}
    one = study.scores.query("label == 'pgs' and seed == 1 and task == 'scenes/shape' and primary").iloc[0]
    values = study.values["pgs"][1]["scenes/shape"]
    assert values.values.mean() == pytest.approx(one["value"], abs=1e-6)
    assert len(values.items) == one["n"] == 120
    curve = study.curves.query("label == 'flip' and seed == 0")
    assert curve["step"].is_monotonic_increasing
    assert len(curve) == 38
    assert study.problems == []


def test_units_and_classes_are_read_where_an_evaluation_wrote_them(fabricate):
    folder = fabricate(seeds=(0,))
    file = next(folder.glob("pgs-s0-*")) / "outcomes" / "scenes__retrieval.text_recall_at_5.npz"
    with np.load(file) as arrays:
        values, names = arrays["values"], arrays["items"]
    units = np.repeat(np.arange(24).astype(str), 5)
    np.savez(file, values=values, items=names, units=units)
    found = read_frames(folder).values["pgs"][0]["scenes/retrieval"]
    assert found.draws.tolist() == units.tolist()
    assert found.strata is None
    np.savez(file, values=values, items=names, units=units, strata=np.arange(120) % 7)
    found = read_frames(folder).values["pgs"][0]["scenes/retrieval"]
    assert found.strata is not None
    assert found.strata.tolist() == [i % 7 for i in range(120)]


def test_missing_and_incomplete_runs_keep_their_rows(fabricate):
    folder = fabricate(seeds=(0, 1))
    gone, halfway = (folder.parent / run.directory for run in StudyRecord.read(folder).runs[:2])
    shutil.rmtree(gone)
    (halfway / "DONE").unlink()
    study = read_frames(folder)
    assert [run.state for run in study.runs[:3]] == ["waiting", "waiting", "done"]
    assert study.values["pgs"] == {}, "scores of a run that is not done must not be used"
    assert study.problems == ["pgs s0: waiting", "pgs s1: waiting"]


def test_values_that_are_not_behind_the_score_are_not_used(fabricate):
    folder = fabricate(seeds=(0, 1))
    run = next(folder.glob("flip-s1-*"))
    file = run / "outcomes" / "scenes__colour.acc1.npz"
    np.savez(file, values=np.zeros(120, np.float32), items=np.arange(120).astype(str))
    study = read_frames(folder)
    assert "per-item values have mean 0.0000" in study.problems[0]
    assert next(one for one in study.runs if one.path == run).problem, "although it has DONE"
    assert list(study.values["flip"]) == [0]


def test_files_that_were_cut_off_are_named_or_left_out(fabricate):
    folder = fabricate(seeds=(0, 1))
    run = next(folder.glob("flip-s1-*"))
    gallery = run / "gallery.npz"
    for path in (gallery, run / "outcomes" / "scenes__colour.acc1.npz"):
        content = path.read_bytes()
        for size in (0, len(content) // 2):  # EOFError, BadZipFile
            path.write_bytes(content[:size])
            found = next(found for found in read_frames(folder).runs if found.path == run)
            assert found.gallery is None
            assert ("per-item values cannot be read" in found.problem) == (path != gallery)


def test_scores_of_another_suite_are_not_mixed_with_the_study_s(fabricate):
    folder = fabricate(seeds=(0, 1))
    replace_runs(folder, lambda run: replace(run, suite_fingerprint="ours"))
    for path in folder.glob("*/scores.json"):
        fingerprint = "theirs" if path.parent.name.startswith("flip-s1-") else "ours"
        replace_scores(path.parent, lambda score: score, suite_fingerprint=fingerprint)
    study = read_frames(folder)
    assert study.problems == [f"flip s1: {OTHER_SUITE}"]
    assert list(study.values["flip"]) == [0], "it is no seed"
    assert len(study.values["flip"][0]) == 8


def test_a_run_may_lie_under_another_study(fabricate):
    folder = fabricate(seeds=(0,))
    run = next(folder.glob("pgs-s0-*"))
    elsewhere = folder.parent / "older" / run.name
    elsewhere.parent.mkdir()
    run.rename(elsewhere)
    replace_runs(
        folder,
        lambda one: replace(one, directory=one.directory.replace(f"masks/{run.name}", f"older/{run.name}")),
    )
    assert read_frames(folder).problems == []
