"""Runs are found by study, arm, score and age, named by a part of their id, compared, removed, exported."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import torch
from study_records import write_study_record
from tinyworld import TinyWorld
from written import spec_of, write_run, write_study

import pgsbench
from pgsbench.errors import ConfigError, ModelError, RunError, StudyError
from pgsbench.models import checkpoint
from pgsbench.models.checkpoint import clip_of
from pgsbench.models.clip import build
from pgsbench.records.study_record import StudyRecord
from pgsbench.reporting.runs.on_disk import DAMAGED, best_run, duration, runs
from pgsbench.reporting.runs.run import diff_tables, differing, scores_that_differ, settings_that_differ
from pgsbench.tracking.run_files import export, find_run, remove
from pgsbench.tracking.rundir import RunDir


def test_the_newest_run_comes_first_with_its_mean_score(tmp_path: Path) -> None:
    written = write_study(tmp_path)
    found = pgsbench.runs(tmp_path)
    assert list(found["id"]) == [run.spec.id for run in reversed(written)]
    assert list(found["score"]) == [0.45, 0.5, 0.75, 0.7]
    assert set(found["status"]) == {"complete"}
    assert found["directory"][0] == str(written[-1].path)


def test_runs_are_chosen_by_arm_score_and_age(tmp_path: Path) -> None:
    write_study(tmp_path)
    young = datetime.now(UTC) - timedelta(hours=3)
    fresh = write_run(tmp_path / "runs", spec_of("grid", 0, study="other"), 0.6, started=young.isoformat())
    assert list(runs(tmp_path, arm="pgs", sort="score")["score"]) == [0.75, 0.7]
    assert list(runs(tmp_path, min_score=0.6, sort="score")["score"]) == [0.75, 0.7, 0.6]
    assert list(runs(tmp_path, newer="4h")["id"]) == [fresh.spec.id]
    assert runs(tmp_path, newer="2h").empty
    assert len(runs(tmp_path, study="tiny")) == 4


def test_a_run_that_two_studies_share_is_listed_in_both(tmp_path: Path) -> None:
    first = write_study(tmp_path)[0]
    record = StudyRecord.read(tmp_path / "runs/tiny")
    other = StudyRecord(record.config.model_copy(update={"name": "other"}), record.runs[:1])
    write_study_record(other, tmp_path / "runs/other")
    assert list(runs(tmp_path, study="other")["id"]) == [first.spec.id]


def test_what_is_not_complete_has_no_score_and_what_is_damaged_hides_nothing(tmp_path: Path) -> None:
    written = write_study(tmp_path)
    write_run(tmp_path / "runs", spec_of("grid", 0), 0.6, started="2026-02-01T10:00:00+00:00", done=False)
    (written[0].path / "spec.json").write_text("{}")
    found = runs(tmp_path, sort="arm").set_index("arm")
    assert found.loc["grid", "status"] == "incomplete"
    assert found["score"].isna().sum() == 2
    assert found.loc["?", "status"] == DAMAGED
    assert len(found) == 5


def test_an_empty_folder_has_no_runs(tmp_path: Path) -> None:
    assert runs(tmp_path).empty


@pytest.mark.parametrize("text", ["2", "d", "2y", "-1d", "1d2h", ""])
def test_a_duration_has_a_number_and_a_unit(text: str) -> None:
    with pytest.raises(ConfigError, match="a number and a unit"):
        duration(text)


def test_durations() -> None:
    assert [duration(text) for text in ("90m", "12h", "2d", "1w", "1.5h")] == [
        timedelta(minutes=90),
        timedelta(hours=12),
        timedelta(days=2),
        timedelta(weeks=1),
        timedelta(minutes=90),
    ]


def test_a_wrong_column_or_study_gets_the_nearest_name(tmp_path: Path) -> None:
    write_study(tmp_path)
    with pytest.raises(ConfigError, match="did you mean 'score'"):
        runs(tmp_path, sort="scores")
    with pytest.raises(StudyError, match="did you mean 'tiny'"):
        runs(tmp_path, study="tinny")


def test_a_run_is_found_by_the_beginning_of_its_id(tmp_path: Path) -> None:
    written = write_study(tmp_path)
    spec = written[0].spec
    assert find_run(tmp_path / "runs", spec.id[:6]).path == written[0].path
    assert find_run(tmp_path / "nowhere", str(written[0].path)).path == written[0].path


def test_an_unknown_id_gets_the_nearest_ones_and_a_short_one_those_it_fits(tmp_path: Path) -> None:
    spec = write_study(tmp_path)[0].spec
    typo = spec.id[:-2] + "zz"
    with pytest.raises(RunError, match=rf"did you mean .*{spec.id} \(tiny/pgs s0\)"):
        find_run(tmp_path / "runs", typo)
    with pytest.raises(RunError, match="no run with this id"):
        find_run(tmp_path / "runs", "")
    twin = RunDir(tmp_path / "runs/tiny/twin")
    twin.path.mkdir()
    content = json.loads((tmp_path / "runs" / spec.folder / "spec.json").read_text())
    (twin.path / "spec.json").write_text(json.dumps(content | {"id": spec.id[:4] + "000000"}))
    with pytest.raises(RunError, match=r"2 runs have an id that begins like this"):
        find_run(tmp_path / "runs", spec.id[:4])


def test_the_best_run_is_that_of_the_study_with_the_highest_score(tmp_path: Path) -> None:
    written = write_study(tmp_path)
    best = best_run("tiny", output=tmp_path)
    assert list(best["id"]) == [written[1].spec.id]
    assert list(best_run("tiny", output=tmp_path, metric="tiny/colour/acc1")["id"]) == [written[1].spec.id]
    with pytest.raises(StudyError, match="no run has such a score"):
        best_run("tiny", output=tmp_path, metric="robustness")


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
    settings = settings_that_differ(ours, theirs)
    assert settings.to_dict("records") == [{"setting": "strategy.name", "ours": "pgs", "theirs": "flip"}]
    scores = scores_that_differ(ours, theirs)
    assert scores["difference"].round(6).tolist() == [0.2, 0.2]
    assert (scores["low"] < 0.2).all()
    assert (scores["low"] > 0).all()
    assert settings_that_differ(ours, ours).empty
    assert "the same training twice" in diff_tables(ours, ours)[0].notes[0]


def test_a_section_that_one_lacks_is_told_by_its_settings() -> None:
    found = differing({"budget": None, "lr": 1}, {"budget.equal": "flops", "budget.amount": 5, "lr": 1})
    assert found == [("budget.equal", "not set", "flops"), ("budget.amount", "not set", 5)]


def test_runs_of_other_seeds_and_numerics_are_paired_too(tmp_path: Path) -> None:
    written = write_study(tmp_path)
    numerics = written[0].spec.numerics
    other = spec_of("pgs", 3, numerics=type(numerics)("cuda", "bf16", "2.13.0", 0))
    made = write_run(tmp_path / "runs", other, 0.6, started="2026-01-01T10:00:00+00:00")
    ours, theirs = pgsbench.load_run(written[0].path), pgsbench.load_run(made.path)
    names = set(settings_that_differ(ours, theirs)["setting"])
    assert names == {"seed", "numerics.device", "numerics.precision", "numerics.threads"}
    assert scores_that_differ(ours, theirs)["difference"].round(6).tolist() == [0.1, 0.1]


def test_a_run_without_scores_is_compared_by_its_settings(tmp_path: Path) -> None:
    written = write_study(tmp_path)
    made = write_run(
        tmp_path / "runs", spec_of("grid", 0), 0, started="2026-01-01T10:00:00+00:00", done=False
    )
    scores = scores_that_differ(pgsbench.load_run(written[0].path), pgsbench.load_run(made.path))
    assert scores["theirs"].isna().all()
    assert scores["note"].str.len().gt(0).all()


def test_a_removed_run_is_gone_from_disk_and_from_every_study(tmp_path: Path) -> None:
    first, second, *_ = write_study(tmp_path)
    record = StudyRecord.read(tmp_path / "runs/tiny")
    write_study_record(StudyRecord(record.config, record.runs[:2]), tmp_path / "runs/other")
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


def test_a_run_without_a_model_is_not_exported(tmp_path: Path) -> None:
    first, *_ = write_study(tmp_path)
    with pytest.raises(RunError, match="has no model"):
        export(first, tmp_path / "out")


def test_a_model_in_memory_is_evaluated_as_its_checkpoint_is(tiny: TinyWorld, tmp_path: Path) -> None:
    first, *_ = write_study(tmp_path)
    checkpoint.save(build("tiny-vit", seed=0), first.checkpoint)
    ready = pgsbench.load_run(first.path).model()
    given = {"run": first.path, "ready": ready, "alone": ready.model}
    scores = {
        name: pgsbench.evaluate(source, tiny.suite, device="cpu", to=tmp_path / name, cache=False).scores
        for name, source in given.items()
    }
    values = {name: [score.value for score in one.scores] for name, one in scores.items()}
    assert values["ready"] == values["run"]
    assert values["alone"] == values["run"]
    with pytest.raises(ModelError, match="not a model that open_clip made"):
        pgsbench.evaluate(torch.nn.Linear(2, 2), tiny.suite)


def test_equal_weights_under_another_activation_are_another_model() -> None:
    plain, other = (build("tiny-vit", seed=0).model for _ in range(2))
    assert clip_of(plain).model_cfg == clip_of(other).model_cfg
    for block in other.visual.transformer.resblocks:
        block.mlp.gelu = torch.nn.ReLU()
    assert clip_of(plain).model_cfg != clip_of(other).model_cfg
