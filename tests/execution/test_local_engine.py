"""The worker processes: what fails fails alone, and whoever is stopped saves first."""

from __future__ import annotations

import gc
import multiprocessing
import os
import signal
import threading
import time
import weakref
from concurrent.futures import Future
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from tinyworld import TinyWorld

from pgsbench.errors import Interrupted, RunError
from pgsbench.execution import local, worker
from pgsbench.execution.local import Ended, LocalEngine
from pgsbench.execution.slots import Slots
from pgsbench.records import files
from pgsbench.records.run_spec import RunSpec
from pgsbench.study.open import open_study_file
from pgsbench.study.plan import Planner

BROKEN = """
from dataclasses import dataclass
import os, signal
import torch
from pgsbench.masking.base import keep_all

@dataclass(frozen=True)
class Broken:
    mask_ratio: float = 0.0
    how: str = ""
    needs = frozenset()
    def select(self, view, *, draws):
        if self.how == "raise":
            raise ZeroDivisionError("my own mistake")
        if self.how == "memory":
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")
        if self.how == "die":
            os.kill(os.getpid(), signal.SIGKILL)
        return keep_all(view)
"""


def specs(tiny: TinyWorld, tmp_path: Path, *overrides: str) -> list[RunSpec]:
    (tmp_path / "broken.py").write_text(BROKEN)
    kind = f"{tmp_path}/broken.py:Broken"
    arms = ", ".join(
        f"{how}: {{strategy: {{name: '{kind}', how: {how}}}}}" for how in ("raise", "die", "memory", "fine")
    )
    study = open_study_file(tiny.study, overrides=[f"arms={{{arms}}}", "search=null", *overrides])
    return Planner(study).specs(["raise", "die", "memory", "fine"])


def test_an_error_that_is_nobodys_mistake_and_a_dead_worker_fail_one_run_each(
    tiny: TinyWorld, tmp_path: Path
) -> None:
    pending = specs(tiny, tmp_path)
    ended: dict[str, Ended] = {}
    with LocalEngine(Slots(("cpu",), 1), tmp_path / "runs") as engine:
        while len(ended) < 4:
            for one in engine.step(lambda: pending.pop(0) if pending else None):
                ended[one.spec.arm] = one
    raised, died, short = (ended[arm].error for arm in ("raise", "die", "memory"))
    assert "ZeroDivisionError: my own mistake" in str(raised)
    trace = tmp_path / "runs" / ended["raise"].spec.folder / files.FAILURE
    assert str(trace) in str(raised)
    assert "in select" in trace.read_text()
    assert "the worker process died" in str(died)
    assert str(short).startswith(
        "step 1, rank 0: memory ran out: 16 pairs on this device, 16 at a time "
        "(got 'CUDA out of memory. Tried to allocate 2.00 GiB.')\n  -> set training.micro_batch_size below 16"
    )
    assert (ended["fine"].error, ended["fine"].directory) == (None, ended["fine"].spec.folder)


def test_a_worker_that_dies_while_it_has_nothing_to_do_is_followed_by_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    started = list[Any]()

    class Executor:
        def __init__(self, *_: object, **__: object) -> None:
            self.is_dead = False
            started.append(self)

        def submit(self, _: object, spec: RunSpec, *__: object) -> Future[str]:
            if self.is_dead:
                raise BrokenProcessPool
            future = Future[str]()
            future.set_result(str(spec))
            return future

        def shutdown(self, **_: object) -> None:
            pass

    monkeypatch.setattr(local, "ProcessPoolExecutor", Executor)
    pending: list[Any] = ["first", "second"]
    with LocalEngine(Slots(("cpu",), 1), tmp_path) as engine:
        (first,) = engine.step(lambda: pending.pop(0))
        started[0].is_dead = True
        (second,) = engine.step(lambda: pending.pop(0))
    assert (first.directory, second.directory) == ("first", "second")
    assert len(started) == 2


@pytest.mark.parametrize("kind", [RunError, Interrupted, ZeroDivisionError])
def test_what_a_failed_run_held_is_free_for_the_next(
    kind: type[Exception], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    held = list[Any]()

    def run_once(*_: object, **__: object) -> None:
        model, mask = SimpleNamespace(weights=torch.ones(8)), SimpleNamespace()
        model.mask, mask.model = mask, model  # as a model and its mask hold one another
        held.append(weakref.ref(model.weights))
        try:
            raise ValueError
        except ValueError:
            raise kind("memory ran out") from None

    monkeypatch.setattr(worker, "run_once", run_once)
    monkeypatch.setattr(worker, "prober_of", lambda *_: None)
    spec: Any = SimpleNamespace(id="0", folder="study/arm-s0-0")
    gc.disable()  # so that it frees nothing by chance
    try:
        with pytest.raises((RunError, Interrupted)) as raised:
            worker.done_or_failed(spec, tmp_path, torch.device("cpu"), should_stop=lambda: False)
        assert held[0]() is None, f"while the worker tells of {raised.value}"
    finally:
        gc.enable()


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
    # Not `join`: the pool's own thread waits for them, too, and only one of two hears of an end at once.
    deadline = time.monotonic() + 20
    while multiprocessing.active_children() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not multiprocessing.active_children()
