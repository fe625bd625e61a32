"""A study that is planned by one command, trained by two others, and looked at."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from tinyworld import TinyWorld
from typer.testing import CliRunner

from pgsbench.cli.app import app


def pgsbench(*words: str) -> str:
    """Run a command in this process, and return what it printed."""
    done = CliRunner().invoke(app, list(words), catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.output


@pytest.fixture(scope="module")
def worked(tiny: TinyWorld, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The output folder of a sampled search that two workers have completed."""
    folder = tmp_path_factory.mktemp("worked")
    search = "search={sampler: random, trials: 3, space: {strategy.mask_ratio: {low: 0.3, high: 0.8}}}"
    changed = [search, "name=joined", "arms={none: {strategy: none}}", "training.samples=32"]
    words = [word for one in changed for word in ("--set", one)]
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        out = pgsbench("sweep", str(tiny.study), "--detach", *words)
    assert "joined: 1 run missing\npgsbench study status joined\npgsbench worker joined\n" in out
    assert [run["state"] for run in status(folder)] == ["waiting"]
    command = [sys.executable, "-m", "pgsbench", "worker", "joined", "--jobs", "1"]
    workers = [
        subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    trained = 0
    for process in workers:
        out, err = process.communicate(timeout=280)
        assert process.returncode == 0, err
        here = int(out.split("runs: ")[1].split()[0])
        assert ("beside training and evaluation a run took" in out) == bool(here)
        trained += here
    assert trained == 4
    return folder


def status(folder: Path) -> list[dict[str, object]]:
    out = pgsbench("study", "status", "joined", "--json", "--output", str(folder))
    found: list[dict[str, object]] = json.loads(out)
    return found


def test_two_workers_complete_a_search(worked: Path) -> None:
    found = status(worked)
    assert [run["state"] for run in found] == ["done"] * 4
    assert found[0]["name"] == "none s0"
    watch = ("study", "status", "joined", "--watch", "--output", str(worked))
    assert "joined: 4 done" in pgsbench(*watch)
    assert [json.loads(line) for line in pgsbench(*watch, "--json").splitlines()] == [found]
    assert not list((worked / "runs/joined").glob("*/takeovers.jsonl"))


def test_a_study_is_cancelled_and_goes_on(worked: Path) -> None:
    assert "joined: cancelled" in pgsbench("study", "cancel", "joined", "--output", str(worked))
    assert (worked / "runs/joined/cancelled").exists()
    assert "no run had failed" in pgsbench("study", "retry", "joined", "--output", str(worked))
    assert not (worked / "runs/joined/cancelled").exists()
