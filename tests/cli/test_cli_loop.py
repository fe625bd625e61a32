"""The commands as a user types them, on the tiny world: from a study file to report and tracker, and back."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
from commands import pgsbench
from mlflow import MlflowClient
from no_figures import no_figures
from tinyworld import HALF, TinyWorld

from pgsbench.records.study_record import StudyRecord
from pgsbench.tracking.rundir import RunDir


@pytest.fixture(scope="module")
def swept(tiny: TinyWorld, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A folder in which the tiny study was swept, and what the command printed."""
    folder = tmp_path_factory.mktemp("swept")
    done = pgsbench(folder, "sweep", str(tiny.study), "--jobs", "1")
    assert done.returncode == 0, done.stderr
    return folder, done.stdout


@pytest.fixture(autouse=True)
def quick(swept: tuple[Path, str]) -> Iterator[None]:
    """After the first command nobody looks at figures."""
    with no_figures():
        yield


def test_a_sweep_leaves_runs_a_report_and_a_tracked_study(swept: tuple[Path, str]) -> None:
    folder, out = swept
    assert "runs: 6 trained, 0 reused; beside training and evaluation a run took " in out
    assert "Best points of the search" in out
    assert "one seed: This training run only: " in out
    runs = StudyRecord.read(folder / "runs/tiny").runs
    assert [run.spec.arm for run in runs] == ["none", "oracle", "pgs", "pgs", "flip", "flip"]
    assert all(RunDir(folder / "runs" / run.directory).is_done for run in runs)
    assert "Is it tiny?" in (folder / "reports/tiny/report.md").read_text()
    assert (folder / "reports/tiny/report.html").stat().st_size > 10_000
    assert (folder / "mlflow.db").is_file()


def test_the_same_command_trains_only_what_is_gone_and_evaluates_only_what_lacks_it(
    swept: tuple[Path, str], tiny: TinyWorld
) -> None:
    folder, _ = swept
    weights = {path: path.stat().st_mtime_ns for path in folder.rglob("*.safetensors")}
    (gone, _), (trained, _) = (sorted(folder.glob(f"runs/tiny/{arm}-s0-*")) for arm in ("flip", "pgs"))
    shutil.rmtree(gone)
    (trained / "DONE").unlink()
    before = (trained / "metrics.jsonl").read_bytes()
    again = pgsbench(folder, "sweep", str(tiny.study), "--jobs", "1")
    assert again.returncode == 0, again.stderr
    assert "runs: 1 trained, 1 only evaluated, 4 reused" in again.stdout
    assert "evaluated: pgs mask_ratio=" in again.stderr
    assert (gone / "DONE").is_file()
    assert (trained / "metrics.jsonl").read_bytes() == before
    changed = [path for path, time in weights.items() if path.stat().st_mtime_ns != time]
    assert [path.is_relative_to(gone) for path in changed] == [True]


def test_a_comparison_reuses_what_the_sweep_trained(swept: tuple[Path, str], tiny: TinyWorld) -> None:
    folder, _ = swept
    (folder / "half.py").write_text(HALF)
    words = ("compare", "--study", str(tiny.study), "--baselines", "flip,half.py:Half", "--seeds", "2")
    done = pgsbench(folder, *words)
    assert done.returncode == 0, done.stderr
    assert "runs: 4 trained, 2 reused" in done.stdout  # seed 1 of the study's arms is new
    assert "nothing but the mask" in done.stdout
    assert "pgs leads by" in done.stdout
    assert "Best points" not in done.stdout


def test_an_evaluation_is_reused_and_goes_by_every_name(
    swept: tuple[Path, str], tiny: TinyWorld, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    folder, _ = swept
    monkeypatch.setenv("PGSBENCH_DATA", str(tmp_path / "data"))
    run = next((folder / "runs/tiny").glob("none-s0-*"))
    suite = ["--suite", str(tiny.suite), "--precision", "fp32"]  # as the run's own scores
    first = pgsbench(folder, "evaluate", str(run), *suite)
    assert "tasks: 0 measured, 2 reused" in first.stdout, first.stderr  # the run's own evaluation did
    again = pgsbench(folder, "evaluate", str(run), *suite)
    assert "tasks: 0 measured, 2 reused" in again.stdout, again.stderr
    assert again.stdout.partition("tasks:")[0] == first.stdout.partition("tasks:")[0]

    client = MlflowClient(tracking_uri=f"sqlite:///{folder}/mlflow.db")
    versions = client.search_model_versions("name = 'pgsbench-tiny'")  # one each time another run was best
    version = max(versions, key=lambda one: int(one.version))
    best = client.get_run(version.run_id).data.tags["id"]
    run = next((folder / "runs/tiny").glob(f"*-{best}"))
    assert pgsbench(folder, "evaluate", str(run), *suite).returncode == 0
    weights = str(run / "checkpoints/model/open_clip_model.safetensors")
    for words in ([f"models:/pgsbench-tiny/{version.version}"], [weights, "--model", "tiny-vit"]):
        other = pgsbench(folder, "evaluate", *words, *suite, "--to", f"{len(words)}")
        assert "tasks: 2 measured" in other.stdout, other.stderr
        scores = [
            json.loads((path / "scores.json").read_text())["scores"]
            for path in (folder / f"{len(words)}", run / "eval-tiny")
        ]
        assert scores[0] == scores[1]


def test_parts_of_a_suite_are_measured_side_by_side_and_joined(
    swept: tuple[Path, str], tiny: TinyWorld
) -> None:
    folder, _ = swept
    run = next((folder / "runs/tiny").glob("oracle-s0-*"))
    model = str(run / "checkpoints/model")
    words = ("evaluate", model, "--suite", str(tiny.suite), "--to", "joined")
    words += ("--precision", "fp32")  # as the run's own scores
    for part in ("1/2", "2/2"):
        assert "1 measured, 0 reused" in pgsbench(folder, *words, "--part", part).stdout
    joined = pgsbench(folder, *words)
    assert "0 measured, 2 reused" in joined.stdout
    ours, whole = (json.loads((path / "scores.json").read_text()) for path in (folder / "joined", run))
    assert [score["value"] for score in ours["scores"]] == [score["value"] for score in whole["scores"]]
    assert pgsbench(folder, *words, "--part", "3/2").returncode == 2


def test_a_study_with_other_settings_leaves_the_real_one_alone(
    swept: tuple[Path, str], tiny: TinyWorld
) -> None:
    folder, _ = swept
    report = folder / "reports/tiny/report.md"
    before = report.read_bytes(), (folder / "runs/tiny/study.json").read_bytes()
    words = ("train", str(tiny.study), "--arm", "none", "--set", "training.samples=32")
    done = pgsbench(folder, *words)
    assert done.returncode == 0, done.stderr
    assert (report.read_bytes(), (folder / "runs/tiny/study.json").read_bytes()) == before
    (other,) = folder.glob("reports/tiny-*/report.md")
    assert f"reports/{other.parent.name}/report.md" in done.stdout


def test_the_command_is_recorded_as_it_can_be_typed_again(swept: tuple[Path, str], tiny: TinyWorld) -> None:
    folder, _ = swept
    changed = ("--set", "name=quoted", "--set", "question='Is it; so?'")
    words = ("train", str(tiny.study), "--arm", "none", *changed)
    assert pgsbench(folder, *words).returncode == 0
    recorded = shlex.split(StudyRecord.read(folder / "runs/quoted").command)
    assert recorded == ["pgsbench", *words]


@pytest.mark.parametrize(
    "stop", ["ctrl-c", *(pytest.param(how, marks=pytest.mark.slow) for how in ("kill", "kill-group"))]
)
def test_after_a_stop_the_same_command_goes_on(tiny: TinyWorld, tmp_path: Path, stop: str) -> None:
    changes = [
        "name=tiny",
        "training.samples=2400",
        "training.checkpoint_every_steps=100000",
        "search.arms=[pgs]",
        "arms={}",
        "search.space={strategy.mask_ratio: [0.5]}",
    ]
    words = ["sweep", str(tiny.study), "--jobs", "1", *(word for one in changes for word in ("--set", one))]
    process = subprocess.Popen(
        [sys.executable, "-m", "pgsbench", *words],
        cwd=tmp_path,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        # Tests that run in the background inherit an ignored Ctrl-C, which no user's terminal has.
        preexec_fn=partial(signal.signal, signal.SIGINT, signal.SIG_DFL),
    )
    deadline = time.monotonic() + 120
    while not (lines := list(tmp_path.glob("runs/tiny/*/metrics.jsonl"))) or not lines[0].read_text():
        assert time.monotonic() < deadline
        assert process.poll() is None
        time.sleep(0.02)
    if stop == "kill":
        process.terminate()
    else:  # as a terminal and SLURM do: to the whole group
        os.killpg(process.pid, signal.SIGINT if stop == "ctrl-c" else signal.SIGTERM)
    _, err = process.communicate(timeout=180)
    assert process.returncode == 130
    assert "the same command goes on where it was" in err
    assert "Traceback" not in err
    saved = len(lines[0].read_text().splitlines())
    assert next(tmp_path.glob("runs/tiny/*/checkpoints/state/step-*/state.json")).is_file()

    done = pgsbench(tmp_path, *words)
    assert done.returncode == 0, done.stderr
    steps = [json.loads(line)["step"] for line in lines[0].read_text().splitlines()]
    assert steps == list(range(1, 151))
    assert 0 < saved < 150  # it was cut in the middle, and what was done before was not done again


@pytest.mark.slow
def test_the_same_command_right_after_the_parent_was_killed_waits_for_its_workers(
    tiny: TinyWorld, tmp_path: Path
) -> None:
    changes = ("name=tiny", "training.samples=4000", "arms={}", "search=null")
    words = ["train", str(tiny.study), *(word for one in changes for word in ("--set", one))]
    process = subprocess.Popen(
        [sys.executable, "-m", "pgsbench", *words], cwd=tmp_path, stderr=subprocess.DEVNULL
    )
    deadline = time.monotonic() + 120
    while not any(path.read_text() for path in tmp_path.glob("runs/tiny/*/metrics.jsonl")):
        assert time.monotonic() < deadline
        time.sleep(0.1)
    process.kill()
    process.wait()
    done = pgsbench(tmp_path, *words)
    assert done.returncode == 0, done.stderr
    assert "runs: 1 trained" in done.stdout
