"""The mirror in MLflow: fed from disk, again and again, from any state, without ever raising."""

from __future__ import annotations

import time
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from made_study import TASKS, NewStore, Seen, fake_line, finish, write_fake_study, write_verdict

from pgsbench.records.run_records import Measured
from pgsbench.records.study_record import StudyRecord
from pgsbench.tracking import mlflow_text
from pgsbench.tracking.mirror import Mirror
from pgsbench.tracking.mlflow_text import MAX_KEYS, MAX_POINTS
from pgsbench.tracking.rundir import RunDir


def test_a_study_is_one_parent_and_its_runs(tmp_path: Path, new_store: NewStore) -> None:
    folder, uri = write_fake_study(tmp_path), new_store("store")
    report = tmp_path / "report"
    (report / "figures").mkdir(parents=True)
    (report / "report.md").write_text("# Report")
    (report / "figures" / "ratio.png").write_bytes(b"png")
    done = Mirror(uri).sync_study(folder, report_folder=report)
    seen = Seen(uri)
    assert (done.problem, done.runs) == ("", 3)
    assert set(seen.runs) == {"ratio", "none s0", "flip-0.5 s0", "pgs s0"}
    assert {run.info.status for run in seen.runs.values()} == {"FINISHED"}

    parent, child = seen.runs["ratio"], seen.runs["flip-0.5 s0"]
    assert parent.data.tags["done"] == "3/3"
    assert "pgsbench sweep studies/ratio.yaml" in parent.data.tags["mlflow.note.content"]
    assert seen.artifacts("ratio") == ["report/figures/ratio.png", "report/report.md", "study.yaml"]

    assert child.data.tags["mlflow.parentRunId"] == parent.info.run_id
    assert child.data.params["strategy.mask_ratio"] == "0.5"
    assert child.data.metrics["score/scenes/shape_acc1"] == pytest.approx(57)
    assert len(child.data.metrics) <= MAX_KEYS
    means = [child.data.metrics[f"score/{group}"] for group in TASKS]
    assert child.data.metrics["score/mean"] == pytest.approx(sum(means) / len(means), abs=1e-6)
    assert child.data.tags["label"] == "flip-0.5"
    assert 0.9 * MAX_POINTS <= len(seen.curve("flip-0.5 s0")) <= MAX_POINTS + 1
    assert {"spec.json", "env.json", "scores.json"} <= set(seen.artifacts("flip-0.5 s0"))
    assert parent.data.params["training.samples"] == "24576"  # the study's own; these runs have another
    assert parent.data.params["arms"] == "pgs"
    assert parent.data.metrics["score/pgs"] == pytest.approx(
        seen.runs["pgs s0"].data.metrics["score/mean"], rel=1e-5
    )
    for run in (parent, child):
        data = {one.tags[0].value: one.dataset for one in run.inputs.dataset_inputs}
        assert data["training"].digest == "0123456789abcdef"
        assert data["evaluation"].name == "scenes"


def test_a_verdict_brings_a_run_for_each_arm_with_its_seeds_below(
    tmp_path: Path, new_store: NewStore
) -> None:
    folder, uri = write_fake_study(tmp_path), new_store("store")
    report = write_verdict(tmp_path / "report", ["none", "flip-0.5", "pgs"])
    mirror = Mirror(uri)
    assert mirror.sync_study(folder, report_folder=report).problem == ""
    seen = Seen(uri)
    arm, seed, study = seen.runs["pgs"], seen.runs["pgs s0"], seen.runs["ratio"]
    assert seed.data.tags["mlflow.parentRunId"] == arm.info.run_id
    assert arm.data.tags["mlflow.parentRunId"] == study.info.run_id
    assert arm.data.tags["verdict"] == "pgs − none: better"
    assert study.data.tags["verdict"] == "pgs is better than none."
    assert study.data.tags["mlflow.note.content"].startswith("**pgs is better than none.**")
    bounds = [
        arm.data.metrics[name] for name in ("score_ends/mean_low", "score/mean", "score_ends/mean_high")
    ]
    assert bounds == pytest.approx([40, 50, 60])
    assert arm.data.tags["seeds"] == "1"
    before = seen.everything()
    assert mirror.sync_study(folder, report_folder=report).fed == 0
    assert Seen(uri).everything() == before


def test_the_params_of_an_edited_study_are_its_new_ones(tmp_path: Path, new_store: NewStore) -> None:
    folder, uri = write_fake_study(tmp_path, steps=1), new_store("store")
    mirror = Mirror(uri)
    mirror.sync_study(folder)
    record = StudyRecord.read(folder)
    training = record.config.training.model_copy(update={"batch_size": 8})
    replace(record, config=record.config.model_copy(update={"training": training})).write(folder)
    assert mirror.sync_study(folder).problem == ""
    seen = Seen(uri)
    assert seen.runs["ratio"].data.params["training.batch_size"] == "8"
    assert seen.runs["pgs s0"].data.tags["mlflow.parentRunId"] == seen.runs["ratio"].info.run_id


def test_feeding_again_changes_nothing(tmp_path: Path, new_store: NewStore) -> None:
    folder, uri = write_fake_study(tmp_path), new_store("store")
    mirror = Mirror(uri)
    mirror.sync_study(folder)
    before = Seen(uri).everything()
    for again in (mirror, Mirror(uri)):  # the second one stands for another process
        done = again.sync_study(folder)
        assert (done.problem, done.fed) == ("", 0)
    assert Seen(uri).everything() == before


def test_a_run_fed_while_it_trains_ends_up_the_same(tmp_path: Path, new_store: NewStore) -> None:
    folder, live, late = write_fake_study(tmp_path, steps=0, done=False), new_store("live"), new_store("late")
    run = RunDir(next(folder.glob("pgs-*")))
    mirror = Mirror(live)
    with run.claim():
        for step in range(1, 391):
            run.append_metrics(fake_line(step, loss=1 / step))
            if step == 100:
                scores = {"tiny/colour": 0.75}
                run.append_curve(Measured(1, step, 1, 1.0, 1.0, 0, ("tiny/colour",), "", "", scores, {}))
            if step in (1, 100, 101, 250):
                assert mirror.sync_study(folder, running=True).problem == ""
                seen = Seen(live).runs["pgs s0"]
                assert seen.info.status == "RUNNING"
                assert seen.data.metrics.get("during/tiny/colour") == (75 if step >= 100 else None)
        finish(run)
    mirror.sync_study(folder)
    Mirror(late).sync_study(folder)
    assert Seen(live).everything()["pgs s0"] == Seen(late).everything()["pgs s0"]


def test_a_killed_run_is_repaired_and_can_go_on(tmp_path: Path, new_store: NewStore) -> None:
    folder, uri = write_fake_study(tmp_path, steps=50, done=False), new_store("store")
    run = RunDir(next(folder.glob("pgs-*")))
    with run.claim():
        Mirror(uri).sync_study(folder, running=True)
    assert Seen(uri).runs["pgs s0"].info.status == "RUNNING"

    Mirror(uri).sync_study(folder)
    assert {name: Seen(uri).runs[name].info.status for name in ("pgs s0", "ratio")} == {
        "pgs s0": "KILLED",
        "ratio": "KILLED",
    }

    run.truncate_after(40)
    for step in range(41, 391):
        run.append_metrics(fake_line(step))
    finish(run)
    Mirror(uri).sync_study(folder)
    seen = Seen(uri)
    assert seen.runs["pgs s0"].info.status == "FINISHED"
    steps = [step for step, _ in seen.curve("pgs s0")]
    assert steps == sorted(set(steps))


def test_a_run_that_ends_while_it_is_fed_was_not_killed(
    tmp_path: Path, new_store: NewStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, uri = write_fake_study(tmp_path, steps=2, done=False), new_store("store")
    run, claim = RunDir(next(folder.glob("pgs-*"))), ExitStack()
    claim.enter_context(run.claim())
    thin, calls = mlflow_text.thin, []

    def thin_slowly(*arguments: Any, **options: Any) -> Any:
        calls.append(arguments)
        if len(calls) == 3:  # the third run is pgs
            finish(run)
            claim.close()
        return thin(*arguments, **options)

    monkeypatch.setattr(mlflow_text, "thin", thin_slowly)
    mirror = Mirror(uri)
    mirror.sync_study(folder, running=True)
    assert Seen(uri).runs["pgs s0"].info.status == "RUNNING"
    mirror.sync_study(folder)
    assert Seen(uri).runs["pgs s0"].info.status == "FINISHED"


def test_a_server_that_is_gone_costs_nothing_and_no_password_is_told(tmp_path: Path) -> None:
    folder = write_fake_study(tmp_path, steps=2)
    mirror, started = Mirror("http://me:secret@127.0.0.1:9"), time.monotonic()
    problem = mirror.sync_study(folder).problem
    assert "http://me:***@127.0.0.1:9: the MLflow server does not answer" in problem
    assert time.monotonic() - started < 5
    started = time.monotonic()
    assert mirror.sync_study(folder).problem == problem
    assert time.monotonic() - started < 0.1
