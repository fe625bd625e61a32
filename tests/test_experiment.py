"""A run from configuration to scores: what is reused, and what is measured again."""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import torch
from tinyworld import HALF, TinyWorld

from pgsbench.config.schema import EvaluationConfig
from pgsbench.errors import Interrupted, RunError
from pgsbench.evaluation.identity import current_fingerprint
from pgsbench.evaluation.suite import load_suite
from pgsbench.experiment import is_complete, run_once
from pgsbench.models.architectures import CONFIG_FOLDER
from pgsbench.records.run_records import Summary, git_commit
from pgsbench.records.study_record import Entry
from pgsbench.reporting.study_frames import PlannedRun, read_run
from pgsbench.study.design import Design
from pgsbench.study.open import open_study_file
from pgsbench.study.plan import Planner
from pgsbench.tracking.mlflow_text import run_metrics
from pgsbench.tracking.rundir import RunDir


@pytest.mark.parametrize("edited", ["half.py", "model.json", "train/00001.tar"])
def test_what_was_edited_after_planning_is_not_trained_under_the_old_id(
    tiny: TinyWorld, tmp_path: Path, edited: str
) -> None:
    (tmp_path / "half.py").write_text(HALF)
    (tmp_path / "model.json").write_text((CONFIG_FOLDER / "tiny-vit.json").read_text())
    shutil.copytree(tiny.shards, tmp_path / "train")
    changed = [
        f"strategy={{name: '{tmp_path}/half.py:Half'}}",
        f"model={tmp_path}/model.json",
        f"data.train={tmp_path}/train",
        "search=null",
    ]
    (spec,) = Planner(open_study_file(tiny.study, overrides=changed)).specs(["Half"])
    with (tmp_path / edited).open("a") as file:
        file.write("\n")
    with pytest.raises(RunError, match=r"half\.py:Half.*planned\n.*run the command again"):
        run_once(spec, runs_root=tmp_path / "runs", device=torch.device("cpu"))
    assert not (tmp_path / "runs").exists()


def test_of_an_edited_suite_only_what_changed_is_measured(tiny: TinyWorld, tmp_path: Path) -> None:
    suite = tmp_path / "suite.yaml"
    text = tiny.suite.read_text().replace("data: ", f"data: {tiny.folder}/")
    suite.write_text(text)
    study = open_study_file(tiny.study, overrides=[f"evaluation.suite={suite}"])
    (spec,) = Planner(study).specs(["none"])

    def train() -> RunDir:
        return run_once(spec, runs_root=tmp_path, device=torch.device("cpu"))

    run = train()
    assert is_complete(run, current_fingerprint(load_suite(suite)))
    written = {path.parent.name: path.stat().st_mtime_ns for path in run.path.glob("outcomes/*/task.json")}
    weights = next(run.checkpoint.glob("*.safetensors")).stat().st_mtime_ns
    assert run.summary is not None
    overhead = run.summary.overhead_seconds
    assert overhead is not None
    assert overhead > 0  # what neither steps nor the evaluation took

    suite.write_text(
        text + f"- {{name: tiny/more, data: {tiny.folder}/colour, protocol: zero_shot, group: more}}\n"
    )
    assert not is_complete(run, current_fingerprint(load_suite(suite)))
    train()
    again = {path.parent.name: path.stat().st_mtime_ns for path in run.path.glob("outcomes/*/task.json")}
    assert {name: again[name] for name in written} == written
    assert [name.rpartition("-")[0] for name in set(again) - set(written)] == ["tiny__more"]
    assert run.scores is not None
    assert list(run.scores.groups) == ["classification", "retrieval", "more"]
    assert next(run.checkpoint.glob("*.safetensors")).stat().st_mtime_ns == weights
    assert run.summary.overhead_seconds == overhead

    suite.write_text(text.replace("image_recall_at_5", "text_recall_at_5"))
    train()
    primary = [score.metric for score in run.scores.primary().values()]
    assert primary == ["acc1", "text_recall_at_5"]
    assert is_complete(run, current_fingerprint(load_suite(suite)))
    assert not is_complete(run, "")  # data is missing


class TwoSuites(NamedTuple):
    """A run, and two suites whose tasks have the same names."""

    root: Path
    ours: Path
    theirs: Path
    file: Design

    def train(self, suite: Path) -> tuple[RunDir, PlannedRun]:
        """Return the run, tested on a suite, and what the report of a study with that suite has of it."""
        study = self.file.config.model_copy(update={"evaluation": EvaluationConfig(suite=str(suite))})
        (spec,) = Planner(replace(self.file, config=study)).specs(["none"])
        run = run_once(spec, runs_root=self.root, device=torch.device("cpu"))
        fingerprint = current_fingerprint(load_suite(suite))
        return run, read_run(self.root, Entry(spec, spec.folder, fingerprint))


@pytest.fixture(scope="module")
def trained(tiny: TinyWorld, tmp_path_factory: pytest.TempPathFactory) -> TwoSuites:
    folder = tmp_path_factory.mktemp("suites")
    shutil.copytree(tiny.folder / "colour", folder / "other-colours")
    names = folder / "other-colours/classnames.txt"
    names.write_text("".join(reversed(names.read_text().splitlines(keepends=True))))
    ours, theirs = folder / "ours.yaml", folder / "theirs.yaml"
    text = tiny.suite.read_text().replace("data: ", f"data: {tiny.folder}/")
    ours.write_text(text)
    theirs.write_text(text.replace(f"{tiny.folder}/colour", f"{folder}/other-colours"))
    found = TwoSuites(folder / "runs", ours, theirs, open_study_file(tiny.study))
    found.train(ours)
    return found


@pytest.fixture
def suites(trained: TwoSuites, tmp_path: Path) -> TwoSuites:
    """A copy, with the run as it was trained on our suite."""
    return trained._replace(root=shutil.copytree(trained.root, tmp_path / "runs"))


def test_studies_whose_suites_name_their_tasks_alike_keep_their_scores(suites: TwoSuites) -> None:
    _, first = suites.train(suites.ours)
    _, second = suites.train(suites.theirs)
    assert (first.problem, second.problem) == ("", "")
    _, again = suites.train(suites.ours)  # reused
    assert again.problem == ""
    assert again.is_evaluated
    assert again.scores == first.scores
    for task, values in first.values.items():
        assert np.array_equal(again.values[task].values, values.values)
    assert (first.values["tiny/colour"].units != second.values["tiny/colour"].units).all()


@pytest.mark.parametrize("lost", ["truncated", "gone", "nan", "fewer", "scores.json"])
def test_outcomes_that_cannot_be_read_are_measured_again(suites: TwoSuites, lost: str) -> None:
    run, first = suites.train(suites.ours)
    assert first.scores is not None
    path = run.path / first.scores.primary()["tiny/colour"].per_sample
    with np.load(path) as file:
        arrays = dict(file)
    if lost == "truncated":
        path.write_bytes(path.read_bytes()[:-60])
    elif lost == "gone":
        path.unlink()
    elif lost == "nan":
        np.savez(path, **arrays | {name: arrays[name] * np.nan for name in ("correct", "values")})
    elif lost == "fewer":
        np.savez(path, **{name: one[:-1] if one.ndim else one for name, one in arrays.items()})
    else:
        (run.path / lost).write_text("{")
    assert not is_complete(run, current_fingerprint(load_suite(suites.ours)))
    _, again = suites.train(suites.ours)
    assert (again.problem, again.scores) == ("", first.scores)
    assert is_complete(run, current_fingerprint(load_suite(suites.ours)))


@pytest.mark.parametrize(
    ("steps_between_logs", "deleted_with"), [(1, "spec.json"), (1000, "spec.json"), (1, "*.safetensors")]
)
def test_a_run_directory_that_is_deleted_in_training_or_evaluation_stays_deleted(
    tiny: TinyWorld, tmp_path: Path, steps_between_logs: int, deleted_with: str
) -> None:
    overrides = [f"training.log_every_steps={steps_between_logs}"]
    (spec,) = Planner(open_study_file(tiny.study, overrides=overrides)).specs(["none"])
    folder, deleted = tmp_path / spec.folder, []

    def delete_once() -> bool:
        if not deleted and list(folder.rglob(deleted_with)):
            shutil.rmtree(folder)
            deleted.append(folder)
        return False

    with pytest.raises(RunError, match="the run directory was deleted"):
        run_once(spec, runs_root=tmp_path, device=torch.device("cpu"), should_stop=delete_once)
    assert not folder.exists()
    assert run_once(spec, runs_root=tmp_path, device=torch.device("cpu")).spec == spec


def test_the_commit_is_that_of_the_repository_that_tracks_the_file(tmp_path: Path) -> None:
    git = ("git", "-C", str(tmp_path), "-c", "user.name=a", "-c", "user.email=a@b.c")
    ours, other = tmp_path / "ours.py", tmp_path / "environment" / "installed.py"
    other.parent.mkdir()
    for path in (ours, other):
        path.write_text("")
    for words in (("init",), ("add", "ours.py"), ("commit", "-m", "one")):
        subprocess.run((*git, *words), check=True, capture_output=True)
    assert len(git_commit(ours)) == 12
    ours.write_text("changed")
    assert git_commit(ours).endswith("+")
    assert git_commit(other) == ""


def test_tokens_and_ratio_are_of_the_whole_training_wherever_it_was_logged_or_cut(
    tiny: TinyWorld, tmp_path: Path
) -> None:
    """The one line of metrics is of the phase on whole pictures."""
    overrides = [
        "strategy={name: random, mask_ratio: 0.5}",
        "search=null",
        "training.unmasked_tuning.share=0.34",
    ]
    study = open_study_file(tiny.study, overrides=[*overrides, "training.log_every_steps=1000"])
    (spec,) = Planner(study).specs(["random"])
    cpu, told = torch.device("cpu"), list[Summary]()
    asked = iter([False, False, True, *[False] * 1000])  # stopped after three steps, then resumed
    with pytest.raises(Interrupted):
        run_once(spec, runs_root=tmp_path / "cut", device=cpu, should_stop=asked.__next__)
    for folder in ("whole", "cut"):
        run = run_once(spec, runs_root=tmp_path / folder, device=cpu)
        (line,) = run.metrics()
        assert (line["tokens_kept"], line["mask_ratio_effective"]) == (16, 0)
        assert run.summary is not None
        told.append(run.summary)
        found = run_metrics(run, None)
        assert found["summary/tokens_kept_over_training"] == pytest.approx(32 / 3, rel=1e-3)
        assert found["summary/mask_ratio_over_training"] == pytest.approx(1 / 3, rel=1e-3)
    whole, cut = told
    assert whole.tokens_kept_over_training == (4 * 8 + 2 * 16) / 6
    assert whole.mask_ratio_over_training == pytest.approx(0.5 * 4 / 6)
    assert cut.tokens_kept_over_training == whole.tokens_kept_over_training
    assert cut.mask_ratio_over_training == pytest.approx(whole.mask_ratio_over_training)
