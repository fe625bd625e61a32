"""Runs are found by study, arm, score and age, named by a part of their id, compared, removed, exported."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from made_study import spec_of, write_run, write_study
from tinyworld import TinyWorld

import pgsbench
from pgsbench.errors import ModelError, RunError
from pgsbench.models import checkpoint
from pgsbench.models.clip import build
from pgsbench.records.study_record import StudyRecord
from pgsbench.reporting.one_run import diff_tables
from pgsbench.reporting.run_list import DAMAGED, runs
from pgsbench.tracking.run_files import export, remove


def test_the_newest_run_comes_first_with_its_mean_score(tmp_path: Path) -> None:
    written = write_study(tmp_path)
    found = pgsbench.runs(tmp_path)
    assert list(found["id"]) == [run.spec.id for run in reversed(written)]
    assert list(found["score"]) == [0.45, 0.5, 0.75, 0.7]
    assert set(found["state"]) == {"done"}
    assert found["directory"][0] == str(written[-1].path)


def test_what_is_not_complete_has_no_score_and_what_is_damaged_hides_nothing(tmp_path: Path) -> None:
    written = write_study(tmp_path)
    write_run(tmp_path / "runs", spec_of("grid", 0), 0.6, started="2026-02-01T10:00:00+00:00", done=False)
    (written[0].path / "spec.json").write_text("{}")
    found = runs(tmp_path, sort="arm").set_index("arm")
    assert found.loc["grid", "state"] == "waiting"
    assert found["score"].isna().sum() == 2
    assert found.loc["?", "state"] == DAMAGED
    assert len(found) == 5


def test_a_run_is_read_as_frames(tmp_path: Path) -> None:
    written = write_study(tmp_path)
    run = pgsbench.load_run(written[0].spec.id[:7], output=tmp_path)
    assert Path(run) == run.path  # so that `evaluate` takes it
    assert run.spec == written[0].spec
    assert list(run.scores["value"]) == [0.7, 0.7]
    assert list(run.curves["loss"]) == [2.0]
    assert run.summary is not None
    assert run.summary.samples == 32
    assert "tiny/pgs s0" in repr(run)


def test_two_runs_differ_in_what_their_specs_say_and_are_paired_by_item(tmp_path: Path) -> None:
    written = write_study(tmp_path)
    ours, theirs = (pgsbench.load_run(run.path) for run in (written[0], written[2]))
    settings, scores = diff_tables(ours, theirs)
    assert settings.rows == [["strategy.name", "pgs", "flip"]]
    differences = [row[-1] for row in scores.rows]
    assert [one.estimate for one in differences] == pytest.approx([0.2, 0.2])
    assert all(0 < one.low < 0.2 for one in differences)
    (nothing, _) = diff_tables(ours, ours)
    assert not nothing.rows
    assert "the same training twice" in nothing.notes[0]


def test_a_removed_run_is_gone_from_disk_and_from_every_study(tmp_path: Path) -> None:
    first, second, *_ = write_study(tmp_path)
    record = StudyRecord.read(tmp_path / "runs/tiny")
    StudyRecord(record.config, record.runs[:2]).write(tmp_path / "runs/other")
    remove(tmp_path / "runs", [first])
    assert not first.path.exists()
    assert second.is_done
    for study, left in (("tiny", 3), ("other", 1)):
        kept = StudyRecord.read(tmp_path / "runs" / study).runs
        assert len(kept) == left
        assert all("pgs-s0" not in run.directory for run in kept)


def test_a_run_that_is_worked_on_is_not_removed_nor_any_beside_it(tmp_path: Path) -> None:
    first, second, *_ = write_study(tmp_path)
    with second.claim(), pytest.raises(RunError, match="a process works on this run"):
        remove(tmp_path / "runs", [first, second])
    assert first.is_done
    assert len(StudyRecord.read(tmp_path / "runs/tiny").runs) == 4


def test_an_exported_model_is_open_clips_own_and_says_what_it_is(tmp_path: Path) -> None:
    import open_clip

    first, *_ = write_study(tmp_path)
    clip = build("tiny-vit", seed=0)
    sha256 = checkpoint.save(clip, first.checkpoint)
    folder = export(first, tmp_path / "models/pgs")
    said = json.loads((folder / "run.json").read_text())
    assert said["id"] == first.spec.id
    assert said["sha256"] == {"open_clip_model.safetensors": sha256}
    assert said["groups"] == {"classification": 0.7, "retrieval": 0.7}
    model = open_clip.create_model(f"local-dir:{folder}", output_dict=True).eval()
    model_of_run, transform, tokenizer = pgsbench.load_run(first.path).model()
    assert not model_of_run.training
    picture = torch.rand(1, 3, *clip.image_size)
    torch.testing.assert_close(model.encode_image(picture), model_of_run.encode_image(picture))
    assert tokenizer(["a square"]).shape[0] == 1
    assert callable(transform)
    with pytest.raises(RunError, match="something here already"):
        export(first, folder)
    assert [path.name for path in (tmp_path / "models").iterdir()] == ["pgs"]


def test_a_model_in_memory_is_evaluated_as_its_checkpoint_is(tiny: TinyWorld, tmp_path: Path) -> None:
    first, *_ = write_study(tmp_path)
    checkpoint.save(build("tiny-vit", seed=0), first.checkpoint)
    ready = pgsbench.load_run(first.path).model()
    given = {"run": first.path, "ready": ready, "alone": ready.model}
    scores = {
        name: pgsbench.evaluate(source, tiny.suite, device="cpu", precision="fp32", to=tmp_path / name).scores
        for name, source in given.items()
    }
    values = {name: [score.value for score in one.scores] for name, one in scores.items()}
    assert values["ready"] == values["run"]
    assert values["alone"] == values["run"]
    with pytest.raises(ModelError, match="not a model that open_clip made"):
        pgsbench.evaluate(torch.nn.Linear(2, 2), tiny.suite)
