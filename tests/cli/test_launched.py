"""The command under torchrun: all of its processes train one run after another, and the first one reports."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from tinyworld import TinyWorld

from pgsbench.errors import Interrupted, RunError
from pgsbench.execution import launched
from pgsbench.launcher import launched_rank
from pgsbench.training.ranks import HEARD, Ranks


@pytest.mark.parametrize(
    ("environment", "words", "expected"),
    [
        ({}, "train x", None),
        ({"RANK": "1", "WORLD_SIZE": "2"}, "train x", 1),
        ({"RANK": "1", "WORLD_SIZE": "2"}, "runs ls", None),
        ({"RANK": "0", "WORLD_SIZE": "1"}, "train x", None),
        ({"SLURM_PROCID": "3", "SLURM_NTASKS": "4", "SLURM_STEP_ID": "0"}, "sweep x", 3),
        ({"SLURM_PROCID": "0", "SLURM_NTASKS": "4"}, "train x", None),
    ],
)
def test_a_process_knows_whether_it_was_launched_to_train(
    environment: dict[str, str], words: str, expected: int | None
) -> None:
    assert launched_rank(environment, words.split()) == expected


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (RunError("memory ran out", where="step 3, rank 1"), "tiny: step 3, rank 1: memory ran out\n"),
        (RunError(f"{HEARD} has failed"), ""),  # rank 0 says it, too
        (Interrupted(), ""),
    ],
    ids=("own", "heard", "interrupted"),
)
def test_a_rank_that_only_follows_says_why_it_has_failed(
    error: Exception, said: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    jobs: list[Any] = [(SimpleNamespace(name="tiny"), Path(), 1, "cpu"), None]

    class Following(Ranks):
        def told(self, value: Any) -> Any:
            return jobs.pop(0)

    @contextmanager
    def joined(_: Any) -> Iterator[Ranks]:
        yield Following(rank=1, world_size=2)

    def run_once(*_: Any, **__: Any) -> None:
        raise error

    monkeypatch.setattr(launched, "joined", joined)
    monkeypatch.setattr(launched, "run_once", run_once)
    monkeypatch.setattr(launched.signal, "signal", lambda *_: None)
    monkeypatch.setattr(launched, "is_shared", lambda _: True)
    launched.follow()
    assert not jobs, "it waits for the next run"
    assert capsys.readouterr().err == said


def test_a_rank_ends_where_the_others_would_wait_for_it(tmp_path: Path) -> None:
    code = """
from contextlib import nullcontext
from types import SimpleNamespace
from pgsbench.execution import launched
from pgsbench.training.ranks import Ranks
job = (SimpleNamespace(name="tiny"), None, 1, "cpu")
launched.joined = lambda _: nullcontext(SimpleNamespace(told=lambda _: job))
def run_once(*_, **__):
    raise ValueError("only here")
launched.run_once = run_once
launched.follow()
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert (done.returncode, "ValueError: only here" in done.stderr) == (1, True), done.stderr


@pytest.mark.slow
def test_a_study_trains_under_torchrun(tiny: TinyWorld, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    command += ["-m", "pgsbench", "train", str(tiny.study), "--arm", "none", "--arm", "flip"]
    command += ["--output", str(tmp_path), "--device", "cpu", "--set", "search=null"]
    done = subprocess.run(command, cwd=tmp_path, env=os.environ, capture_output=True, text=True, timeout=280)
    assert done.returncode == 0, done.stderr
    for arm in ("none", "flip"):
        (run,) = tmp_path.glob(f"runs/tiny/{arm}-s0-*")
        assert (run / "DONE").is_file()
        steps = [json.loads(line)["step"] for line in (run / "metrics.jsonl").read_text().splitlines()]
        assert steps == [1, 2, 3, 4, 5, 6], "rank 0 alone writes"
