"""The worker processes: what fails fails alone, and whoever is stopped saves first."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import time
from pathlib import Path

import pytest
from tinyworld import TinyWorld

from pgsbench.execution.local import Ended, LocalEngine
from pgsbench.execution.slots import Slots
from pgsbench.records import files
from pgsbench.records.run_spec import RunSpec
from pgsbench.study.open import open_study_file
from pgsbench.study.plan import Planner

BROKEN = """
from dataclasses import dataclass
import os, signal
from pgsbench.masking.base import keep_all

@dataclass(frozen=True)
class Broken:
    mask_ratio: float = 0.0
    how: str = ""
    needs = frozenset()
    def select(self, view, *, draws):
        if self.how == "raise":
            raise ZeroDivisionError("my own mistake")
        if self.how == "die":
            os.kill(os.getpid(), signal.SIGKILL)
        return keep_all(view)
"""


def specs(tiny: TinyWorld, tmp_path: Path, *overrides: str) -> list[RunSpec]:
    (tmp_path / "broken.py").write_text(BROKEN)
    kind = f"{tmp_path}/broken.py:Broken"
    arms = ", ".join(
        f"{how}: {{strategy: {{name: '{kind}', how: {how}}}}}" for how in ("raise", "die", "fine")
    )
    study = open_study_file(tiny.study, overrides=[f"arms={{{arms}}}", "search=null", *overrides])
    return Planner(study).specs(["raise", "die", "fine"])


def test_an_error_that_is_nobodys_mistake_and_a_dead_worker_fail_one_run_each(
    tiny: TinyWorld, tmp_path: Path
) -> None:
    pending = specs(tiny, tmp_path)
    ended: dict[str, Ended] = {}
    with LocalEngine(Slots(("cpu",), 1), tmp_path / "runs") as engine:
        while len(ended) < 3:
            for one in engine.step(lambda: pending.pop(0) if pending else None):
                ended[one.spec.arm] = one
    raised, died = ended["raise"].error, ended["die"].error
    assert "ZeroDivisionError: my own mistake" in str(raised)
    trace = tmp_path / "runs" / ended["raise"].spec.folder / files.FAILURE
    assert str(trace) in str(raised)
    assert "in select" in trace.read_text()
    assert "the worker process died" in str(died)
    assert (ended["fine"].error, ended["fine"].directory) == (None, ended["fine"].spec.folder)


def test_a_second_ctrl_c_ends_the_workers_at_once(tiny: TinyWorld, tmp_path: Path) -> None:
    # Tests that run in the background inherit an ignored Ctrl-C, which no user's terminal has.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    spec = specs(tiny, tmp_path, "training.samples=160000")[-1]
    pending, seen = [spec], []

    def interrupt() -> None:
        seen.append(time.monotonic())
        metrics = tmp_path / "runs" / spec.folder / files.METRICS
        if metrics.is_file():
            for child in multiprocessing.active_children():  # a worker that does not listen any more
                os.kill(child.pid or 0, signal.SIGSTOP)
            threading.Timer(1.0, os.kill, (os.getpid(), signal.SIGINT)).start()
            raise KeyboardInterrupt

    started = time.monotonic()

    def work() -> None:
        with LocalEngine(Slots(("cpu",), 1), tmp_path / "runs") as engine:
            while True:
                engine.step(lambda: pending.pop() if pending else None)
                interrupt()

    with pytest.raises(KeyboardInterrupt):
        work()
    signal.signal(signal.SIGINT, before)
    assert time.monotonic() - seen[-1] < 20
    assert time.monotonic() - started < 200
    for child in multiprocessing.active_children():
        child.join(timeout=10)
    assert not multiprocessing.active_children()
