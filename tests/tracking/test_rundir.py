"""Run directories: atomic, resumable, claimed by one process."""

from __future__ import annotations

import os
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from made_study import fake_scores, fake_summary, spec_of

from pgsbench.errors import RunError
from pgsbench.records.run_records import Environment
from pgsbench.tracking.rundir import RunDir, all_runs, find_runs


@pytest.fixture
def run(tmp_path: Path) -> RunDir:
    return RunDir.create(tmp_path, spec_of())


def test_not_a_number_becomes_null_and_a_damaged_file_is_named(run: RunDir) -> None:
    run.write_summary(replace(fake_summary(), eval_seconds=float("nan")))
    assert run.summary is not None
    assert run.summary.eval_seconds is None
    run.write_summary(fake_summary(final_loss=float("nan")))
    with pytest.raises(RunError, match="final_loss"):  # no training ends so
        _ = run.summary
    for name, read in (("summary", lambda: run.summary), ("scores", lambda: run.scores)):
        (run.path / f"{name}.json").write_text('{"loss": 1')
        with pytest.raises(RunError, match=rf"{name}\.json"):
            read()


def test_the_last_step_is_that_of_the_last_whole_line(run: RunDir) -> None:
    assert run.last_step() == 0
    for step in (10, 20):
        run.append_metrics({"step": step, "filler": "x" * 50_000})
    assert run.last_step() == 20  # of a file longer than what is read of it
    with (run.path / "metrics.jsonl").open("a") as file:
        file.write('{"step": 30, "lo')
    assert run.last_step() == 20
    (run.path / "metrics.jsonl").write_text('{"step": 7}\nnonsense\n')
    assert run.last_step() == 7
    (run.path / "metrics.jsonl").write_text("nonsense\n")
    assert run.last_step() == 0


@pytest.mark.parametrize("damage", [b"\0" * 40, b'{"st', b"[]", b"{}", b"3", b"\xff", b'{"step": null}'])
def test_a_damaged_line_is_passed_over_and_gone_after_resuming(run: RunDir, damage: bytes) -> None:
    file = run.path / "metrics.jsonl"
    file.write_bytes(b'{"step": 1}\n' + damage + b'\n{"step": 3}\n{"step": 5}\n' + damage)
    assert run.metrics() == [{"step": 1}, {"step": 3}, {"step": 5}]
    run.truncate_after(3)
    run.append_metrics({"step": 4, "loss": float("nan")})
    assert file.read_text() == '{"step": 1}\n{"step": 3}\n{"step": 4, "loss": null}\n'


def test_find_runs_prefers_complete(tmp_path: Path) -> None:
    spec, another = spec_of(), spec_of(seed=1)
    assert find_runs(tmp_path, [spec.id]) == {}
    first = RunDir.create(tmp_path, replace(spec, study="a"))
    second = RunDir.create(tmp_path, replace(spec, study="b"))
    other = RunDir.create(tmp_path, another)
    assert find_runs(tmp_path, [spec.id])[spec.id].path == first.path
    second.mark_done()
    found = find_runs(tmp_path, [spec.id, another.id, "no-such"])
    assert {run_id: run.path for run_id, run in found.items()} == {
        spec.id: second.path,
        another.id: other.path,
    }
    assert found[spec.id].is_done
    assert len(all_runs(tmp_path)) == 3


def test_claim_is_exclusive_and_names_its_holder(run: RunDir) -> None:
    assert run.holder is None
    with run.claim():
        assert run.holder is not None
        assert run.holder.process == os.getpid()
        with pytest.raises(RunError, match=f"process {os.getpid()} on"), run.claim():
            pass
    assert run.holder is None
    with run.claim():
        pass


def test_a_deleted_run_directory_is_not_made_anew_by_writing(run: RunDir) -> None:
    run.append_metrics({"step": 1})
    shutil.rmtree(run.path)
    for write in (
        lambda: run.append_metrics({"step": 2}),
        lambda: run.write_summary(fake_summary()),
        lambda: run.write_environment(Environment("2026-01-01T10:00:00+00:00", "cpu", 1)),
        run.mark_done,
        lambda: run.claim().__enter__(),
    ):
        with pytest.raises(RunError, match=r"(?s)was deleted.*repeat the command"):
            write()
        assert not run.path.exists()


def test_a_directory_without_a_spec_never_counts(run: RunDir, tmp_path: Path) -> None:
    spec = run.spec
    run.mark_done()
    (run.path / "spec.json").unlink()
    assert not run.is_done
    assert (find_runs(tmp_path, [spec.id]), all_runs(tmp_path)) == ({}, [])
    assert not RunDir.create(tmp_path, spec).is_done  # it says DONE of what was there before


def test_labels_tell_values_apart_and_seeds_are_named() -> None:
    assert spec_of("pgs").label == "pgs"
    params = {"strategy.mask_ratio": 0.5, "strategy.otn": True, "a.eps": 1e-6, "a.x": 3.0}
    assert spec_of("pgs", 1, params=params).name == "pgs mask_ratio=0.5 otn=True eps=1e-06 x=3 s1"
    near = [spec_of("pgs", params={"strategy.tau": tau}).label for tau in (0.1, 0.1000001, 0.1 + 1e-16)]
    assert len(set(near)) == 3
    assert near[1] == "pgs tau=0.1000001"


def test_a_run_keeps_its_scores_on_the_suites_of_two_studies(run: RunDir) -> None:
    ours, theirs = fake_scores(), replace(fake_scores(), suite="halves", suite_fingerprint="0123")
    for scores in (ours, theirs, ours):
        scores.write(run.path)
        assert run.scores is not None
        assert run.scores.suite == scores.suite
    for scores in (ours, theirs):
        found = run.scores_of(scores.suite_fingerprint)
        assert found is not None
        assert (found.suite, found.scores) == (scores.suite, scores.scores)
    assert run.scores_of("of a third") is None
    (run.path / "scores" / "0123.json").write_text("{")
    with pytest.raises(RunError, match="no readable scores"):
        run.scores_of("0123")


def test_resume_drops_later_and_torn_lines(run: RunDir) -> None:
    for step in range(1, 6):
        run.append_metrics({"step": step, "loss": 1.0 / step})
    with (run.path / "metrics.jsonl").open("a") as file:
        file.write('{"step": 6, "lo')
    assert [line["step"] for line in run.metrics()] == [1, 2, 3, 4, 5]
    run.truncate_after(3)
    run.append_metrics({"step": 4, "loss": float("nan")})
    assert [line["step"] for line in run.metrics()] == [1, 2, 3, 4]
    assert run.metrics()[-1]["loss"] is None
