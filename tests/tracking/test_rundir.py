"""Run directories: atomic, resumable, claimed by one process."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from pgsbench.errors import RunError, StudyError
from pgsbench.tracking.manifest import StudyManifest, StudyRun, read_study, write_study
from pgsbench.tracking.rundir import RunDir, find_runs, write_json

CONFIG = {
    "id": "abc123",
    "study": "ratio",
    "arm": "flip",
    "seed": 1,
    "config": {"strategy": {"name": "random"}},
}


def test_create_names_the_folder_and_open_reads_it(tmp_path: Path) -> None:
    run = RunDir.create(tmp_path, CONFIG)
    assert run.path == tmp_path / "ratio" / "flip-s1-abc123"
    assert RunDir.open(run.path).config == CONFIG
    assert (run.env, run.summary, run.scores, run.metrics()) == ({}, {}, {}, [])


def test_create_keeps_what_exists(tmp_path: Path) -> None:
    RunDir.create(tmp_path, CONFIG)
    assert RunDir.create(tmp_path, {**CONFIG, "config": {}}).config == CONFIG


def test_open_elsewhere_says_so(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="no run directory here"):
        RunDir.open(tmp_path / "nothing")


def test_not_a_number_becomes_null_and_a_damaged_file_is_named(tmp_path: Path) -> None:
    write_json(
        tmp_path / "summary.json", {"loss": float("nan"), "shape": (2, float("inf")), "path": Path("a")}
    )
    assert RunDir(tmp_path).summary == {"loss": None, "shape": [2, None], "path": "a"}
    (tmp_path / "summary.json").write_text('{"loss": 1')
    with pytest.raises(RunError, match=r"summary\.json: damaged"):
        _ = RunDir(tmp_path).summary


def test_failed_write_keeps_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "scores.json"
    write_json(path, {"old": True})
    with pytest.raises(TypeError):
        write_json(path, {"new": object()})
    assert json.loads(path.read_text()) == {"old": True}


def test_resume_drops_later_and_torn_lines(tmp_path: Path) -> None:
    run = RunDir(tmp_path)
    for step in range(1, 6):
        run.append_metrics({"step": step, "loss": 1.0 / step})
    with (tmp_path / "metrics.jsonl").open("a") as file:
        file.write('{"step": 6, "lo')
    assert [line["step"] for line in run.metrics()] == [1, 2, 3, 4, 5]
    run.truncate_after(3)
    run.append_metrics({"step": 4, "loss": float("nan")})
    assert [line["step"] for line in run.metrics()] == [1, 2, 3, 4]
    assert run.metrics()[-1]["loss"] is None


def test_the_last_step_is_that_of_the_last_whole_line(tmp_path: Path) -> None:
    run = RunDir(tmp_path)
    assert run.last_step() == 0
    for step in (10, 20):
        run.append_metrics({"step": step, "filler": "x" * 50_000})
    assert run.last_step() == 20  # of a file longer than what is read of it
    with (tmp_path / "metrics.jsonl").open("a") as file:
        file.write('{"step": 30, "lo')
    assert run.last_step() == 20
    (tmp_path / "metrics.jsonl").write_text('{"step": 7}\nnonsense\n')
    assert run.last_step() == 7
    (tmp_path / "metrics.jsonl").write_text("nonsense\n")
    assert run.last_step() == 0


@pytest.mark.parametrize("damage", [b"\0" * 40, b'{"st', b"[]", b"{}", b"3", b"\xff", b'{"step": null}'])
def test_a_damaged_line_is_passed_over_and_gone_after_resuming(tmp_path: Path, damage: bytes) -> None:
    run, file = RunDir(tmp_path), tmp_path / "metrics.jsonl"
    file.write_bytes(b'{"step": 1}\n' + damage + b'\n{"step": 3}\n' + damage)
    assert run.metrics() == [{"step": 1}, {"step": 3}]
    run.truncate_after(3)
    run.append_metrics({"step": 4})
    assert file.read_text() == '{"step": 1}\n{"step": 3}\n{"step": 4}\n'


def test_find_runs_prefers_complete(tmp_path: Path) -> None:
    assert find_runs(tmp_path, ["abc123"]) == {}
    first = RunDir.create(tmp_path, {**CONFIG, "study": "a"})
    second = RunDir.create(tmp_path, {**CONFIG, "study": "b"})
    other = RunDir.create(tmp_path, {**CONFIG, "id": "def456"})
    assert find_runs(tmp_path, ["abc123"])["abc123"].path == first.path
    second.mark_done()
    found = find_runs(tmp_path, ["abc123", "def456", "no-such"])
    assert {run_id: run.path for run_id, run in found.items()} == {
        "abc123": second.path,
        "def456": other.path,
    }
    assert found["abc123"].is_done


def test_claim_is_exclusive_and_names_its_holder(tmp_path: Path) -> None:
    run = RunDir(tmp_path)
    assert run.holder is None
    with run.claim():
        assert run.holder is not None
        assert str(os.getpid()) in run.holder
        with pytest.raises(RunError, match=f"process {os.getpid()} on"), run.claim():
            pass
    assert run.holder is None
    with run.claim():
        pass


def test_claim_ends_with_its_process(tmp_path: Path) -> None:
    code = (
        "import sys, time; from pathlib import Path; from pgsbench.tracking.rundir import RunDir\n"
        "with RunDir(Path(sys.argv[1])).claim():\n    print('held', flush=True); time.sleep(60)"
    )
    process = subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    with process, process.stdout:
        assert process.stdout.readline() == "held\n"
        run = RunDir(tmp_path)
        with pytest.raises(RunError, match=f"process {process.pid} on"), run.claim():
            pass
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert run.holder is None
    with run.claim():
        assert run.holder is not None


def test_study_manifest_round_trip(tmp_path: Path) -> None:
    cells = (
        StudyRun("flip", 0, "ratio/flip-s0-abc", {}),
        StudyRun("pgs", 1, "other/pgs-s1-def", {"strategy.tau": 0.1}),
    )
    manifest = StudyManifest({"name": "ratio"}, cells, source="name: ratio\n", command="pgsbench sweep ratio")
    write_study(tmp_path / "ratio", manifest)
    assert read_study(tmp_path / "ratio") == manifest
    assert cells[1].directory(tmp_path).path == tmp_path / "other" / "pgs-s1-def"


def test_labels_tell_values_apart_and_seeds_are_named() -> None:
    assert StudyRun("pgs", 0, "").label == "pgs"
    run = StudyRun(
        "pgs", 1, "", {"strategy.mask_ratio": 0.5, "strategy.otn": True, "a.eps": 1e-6, "a.x": 3.0}
    )
    assert run.name == "pgs mask_ratio=0.5 otn=True eps=1e-06 x=3 s1"
    near = [StudyRun("pgs", 0, "", {"strategy.tau": tau}).label for tau in (0.1, 0.1000001, 0.1 + 1e-16)]
    assert len(set(near)) == 3
    assert near[1] == "pgs tau=0.1000001"


def test_study_that_never_ran(tmp_path: Path) -> None:
    with pytest.raises(StudyError, match="no study has run here"):
        read_study(tmp_path)
    (tmp_path / "study.json").write_text('{"cells": [{"arm": 1}], "study": {}}')
    with pytest.raises(StudyError, match="damaged study manifest"):
        read_study(tmp_path)


def test_rundir_imports_nothing_heavy() -> None:
    code = "import sys, pgsbench.tracking.rundir; print(*{'torch', 'mlflow', 'numpy'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""
