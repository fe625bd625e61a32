"""Checkpoints by name: where their scores go, what they are called, and what is never mixed."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from tinyworld import TinyWorld

from pgsbench.checkpoints import evaluate_checkpoint, evaluate_checkpoints
from pgsbench.errors import ConfigError
from pgsbench.evaluation.suite import load_suite
from pgsbench.models import checkpoint, clip
from pgsbench.models.clip import Clip
from pgsbench.reporting.checkpoints import evaluation_tables
from pgsbench.study.open import open_study_file
from pgsbench.study.plan import Planner
from pgsbench.tracking.rundir import RunDir


@pytest.fixture(scope="module")
def model() -> Clip:
    return clip.build("tiny-vit", seed=0)


@pytest.fixture
def folder(model: Clip, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("PGSBENCH_DATA", str(tmp_path / "data"))
    monkeypatch.chdir(tmp_path)
    checkpoint.save(model, tmp_path / "model")
    return tmp_path / "model"


def test_an_open_model_scores_as_its_checkpoint_does(model: Clip, folder: Path, tiny: TinyWorld) -> None:
    named = evaluate_checkpoint(folder, tiny.suite)
    opened = evaluate_checkpoint(model, load_suite(tiny.suite))
    assert named.folder == folder / "eval-tiny"
    ours, theirs = (one.scores.scores for one in (opened, named))
    by_key = [{"key": own.key, "per_sample": own.per_sample} for own in ours]  # each has its own
    assert ours == tuple(replace(score, **of) for score, of in zip(theirs, by_key, strict=True))
    assert opened.scores.reused == ()  # it is known by its tensors and not by the hash of a file
    assert evaluate_checkpoint(model, tiny.suite).scores.reused == ("tiny/colour", "tiny/retrieval")
    assert json.loads((folder / "eval-tiny/scores.json").read_text())["suite"] == "tiny"
    assert "GELU; pictures 32 x 32" in named.model


def test_a_table_is_encoded_in_one_precision_that_of_runs_where_there_are_any(
    model: Clip, folder: Path, tiny: TinyWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    (spec,) = Planner(open_study_file(tiny.study, overrides=["seeds=[0]"])).specs(["none"])
    run = RunDir.create(folder.parent, spec)
    checkpoint.save(model, run.checkpoint)

    def precisions(*sources: Path) -> set[str]:
        found = evaluate_checkpoints([*map(str, sources)], tiny.suite, device="cpu")
        return {one.scores.environment["precision"] for one in found}

    for gains, expected in ((True, "bfloat16"), (False, "float32")):
        monkeypatch.setattr("pgsbench.checkpoints.gains_by_bf16", lambda _, gains=gains: gains)
        assert precisions(folder) == {expected}
        assert precisions(folder, run.path) == precisions(run.path) == {"float32"}
    table = evaluation_tables([evaluate_checkpoint(folder, tiny.suite, precision="bf16")])[0]
    assert "Encoded in bfloat16." in table.notes[0]
    assert ",bfloat16\n" in (folder / "eval-tiny/scores.csv").read_text()


def test_precisions_are_never_mixed(folder: Path, tiny: TinyWorld) -> None:
    first = evaluate_checkpoint(folder, tiny.suite, precision="fp32")
    half = evaluate_checkpoint(folder, tiny.suite, precision="bf16")
    assert half.scores.reused == ()
    assert [one.scores.environment["precision"] for one in (first, half)] == ["float32", "bfloat16"]
    again = evaluate_checkpoint(folder, tiny.suite, precision="fp32")  # both are kept, each under its key
    assert again.scores.reused == ("tiny/colour", "tiny/retrieval")
    assert again.scores.scores == first.scores.scores
    with pytest.raises(ConfigError, match="--precision: unknown precision"):
        evaluate_checkpoint(folder, tiny.suite, precision="fp61")


def test_a_look_lies_beside_the_whole_and_stands_for_nothing(folder: Path, tiny: TinyWorld) -> None:
    look = evaluate_checkpoint(folder, tiny.suite, limit=5)
    assert look.folder == folder / "eval-tiny-first-5"
    whole = evaluate_checkpoint(folder, tiny.suite)
    assert whole.scores.reused == ()
    assert not any(score.notes and "look" in score.notes[-1] for score in whole.scores.scores)
    part = evaluate_checkpoint(folder, tiny.suite, limit=5, part="2/2")
    assert part.folder == look.folder / "part-2-of-2"
    assert {score.n for score in part.scores.scores} == {5}


def test_several_checkpoints_get_a_folder_each(model: Clip, folder: Path, tiny: TinyWorld) -> None:
    checkpoint.save(model, folder.parent / "other/model")
    found = evaluate_checkpoints(["model", "other/model"], tiny.suite, to=Path("out"))
    assert [one.name for one in found] == ["model", "other/model"]
    assert [one.folder for one in found] == [
        folder.parent / "out" / name for name in ("model", "other-model")
    ]
    assert found[1].scores.scores == found[0].scores.scores
    (alone,) = evaluate_checkpoints(["model"], tiny.suite, to=Path("alone"))
    assert alone.folder == folder.parent / "alone"
