"""Engines: processes that die alone, runs of several processes, and the workers of Dask."""

from __future__ import annotations

import json
import multiprocessing
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import wait
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

import pytest
import torch
from no_figures import no_figures
from tinyworld import HALF, TinyWorld

from pgsbench.errors import ConfigError, Interrupted, RunError
from pgsbench.execution.driver import Watcher, enter, work_off
from pgsbench.execution.engine import Slots, plan_slots
from pgsbench.execution.ledger import Ledger
from pgsbench.execution.local import LocalEngine, SlotExecutor
from pgsbench.execution.run import Stop, run
from pgsbench.execution.search import search
from pgsbench.experiment import run_once
from pgsbench.records import files
from pgsbench.records.run_spec import RunSpec
from pgsbench.session.opening import work_on
from pgsbench.study.open import open_study_file
from pgsbench.study.plan import Planner
from pgsbench.tracking.rundir import RunDir, find_runs

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


@pytest.fixture(autouse=True)
def folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)  # MLflow's file lies in the working folder


def planned(tiny: TinyWorld, *overrides: str) -> RunSpec:
    changed = ["search=null", "training.checkpoint_every_steps=100", *overrides]
    study = open_study_file(tiny.study, overrides=changed)
    (spec,) = Planner(study).specs([study.config.base_arm])
    return spec


def losses(run: RunDir) -> list[float]:
    return [line["loss"] for line in run.metrics()]


def weights(root: Path) -> dict[str, bytes]:
    found = root.glob("tiny/*/checkpoints/model/*.safetensors")
    return {path.parts[-4]: path.read_bytes() for path in found}


# ---------------------------------------------------------------------------------------------- one machine


def test_an_error_that_is_nobodys_mistake_and_a_dead_worker_fail_one_run_each(
    tiny: TinyWorld, tmp_path: Path
) -> None:
    (tmp_path / "broken.py").write_text(BROKEN)
    kind, names = f"{tmp_path}/broken.py:Broken", ["raise", "die", "memory", "fine"]
    arms = ", ".join(f"{how}: {{strategy: {{name: '{kind}', how: {how}}}}}" for how in names)
    study = open_study_file(tiny.study, overrides=[f"arms={{{arms}}}", "search=null"])
    folder = Ledger.open(Planner(study), tmp_path / "runs")
    missing = enter(folder, folder.planner.specs(names), Watcher())
    failed = work_off(folder, missing, LocalEngine(Slots(("cpu",), 1), tmp_path / "runs"), Watcher())
    said = {spec.arm: str(error) for spec, error in failed}
    assert list(said) == ["raise", "die", "memory"]
    assert "ZeroDivisionError: my own mistake" in said["raise"]
    trace = folder.directory(folder.runs["raise s0"].spec).path / files.TRACEBACK
    assert str(trace) in said["raise"]
    assert "in select" in trace.read_text()
    assert "the worker process died" in said["die"]
    assert "step 1, rank 0: memory ran out: 16 pairs on this device, 16 at a time" in said["memory"]
    assert "Tried to allocate 2.00 GiB" in said["memory"]
    assert folder.is_complete(folder.runs["fine s0"].spec)


def test_a_process_that_dies_is_followed_and_the_others_go_on() -> None:
    with SlotExecutor(("cpu", "cpu"), 1) as executor:
        slow, dying = executor.submit(time.sleep, 1.0), executor.submit(os._exit, 1)
        wait([dying])
        assert isinstance(dying.exception(), BrokenProcessPool)
        assert executor.submit(abs, -3).result() == 3
        assert slow.result() is None


def test_a_second_ctrl_c_ends_the_workers_at_once(tiny: TinyWorld, tmp_path: Path) -> None:
    # Tests that run in the background inherit an ignored Ctrl-C, which no user's terminal has.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    study = open_study_file(tiny.study, overrides=["training.samples=160000", "search=null"])
    folder, seen = Ledger.open(Planner(study), tmp_path), list[float]()
    missing = enter(folder, folder.planner.specs(["pgs"]), Watcher())

    def interrupt() -> None:
        if folder.directory(missing[0]).last_step():
            seen.append(time.monotonic())
            for child in multiprocessing.active_children():  # a worker that does not listen any more
                os.kill(child.pid or 0, signal.SIGSTOP)
            threading.Timer(1.0, os.kill, (os.getpid(), signal.SIGINT)).start()
            raise KeyboardInterrupt

    engine = LocalEngine(Slots(("cpu",), 1), tmp_path)
    with pytest.raises(KeyboardInterrupt):
        work_off(folder, missing, engine, Watcher(on_tick=interrupt))
    signal.signal(signal.SIGINT, before)
    assert time.monotonic() - seen[-1] < 20
    # Not `join`: the pool's own thread waits for them, too, and only one of two hears of an end at once.
    deadline = time.monotonic() + 20
    while multiprocessing.active_children() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not multiprocessing.active_children()


def test_slots_are_grouped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pgsbench.execution.engine.usable_cores", lambda: 5)
    assert plan_slots(device="cpu", threads=1, devices_per_run=2).devices == ("cpu,cpu", "cpu,cpu")
    gpus = [f"cuda:{number}" for number in range(5)]
    monkeypatch.setattr("pgsbench.execution.engine.devices_named", lambda _: list(gpus))
    slots = plan_slots(device="cuda", threads=1, devices_per_run=2)
    assert slots.devices == ("cuda:0,cuda:1", "cuda:2,cuda:3")
    assert slots.device_type == "cuda"
    assert plan_slots(device="cuda", threads=1, devices_per_run=2, jobs=1).devices == ("cuda:0,cuda:1",)
    with pytest.raises(ConfigError, match="5 devices, fewer than train one run"):
        plan_slots(device="cuda", threads=1, devices_per_run=8)


# ------------------------------------------------------------------------------------- several devices a run


def together(spec: RunSpec, root: Path, stop: Stop) -> None:
    run(spec, root, devices=["cpu", "cpu"], threads=1, stop=stop)


def test_two_processes_are_stopped_and_go_on_and_leave_the_run_of_one(
    tiny: TinyWorld, tmp_path: Path
) -> None:
    spec, stop = planned(tiny), Stop()
    stop.event.set()
    with pytest.raises(Interrupted):
        together(spec, tmp_path / "two", stop)
    (saved,) = tmp_path.glob("two/tiny/*/checkpoints/state/step-*/state.json")
    assert json.loads(saved.read_text())["step"] == 1
    together(spec, tmp_path / "two", Stop())
    two = find_runs(tmp_path / "two", [spec.id])[spec.id]
    assert two.is_done
    assert two.scores is not None
    alone = run_once(spec, runs_root=tmp_path / "one", device=torch.device("cpu"))
    assert losses(two) == pytest.approx(losses(alone), rel=1e-5)
    assert alone.summary is not None
    for name in ("samples", "visual_tokens", "text_tokens", "flops", "mask_ratio_effective"):
        assert getattr(two.summary, name) == pytest.approx(getattr(alone.summary, name)), name


IN_RANK_1 = HALF.replace("from dataclasses", "import os, signal\nfrom dataclasses").replace(
    "        return",
    "        if os.environ.get('RANK') == '1' and view.progress > 0.4:\n            {}\n        return",
)


def test_a_process_that_dies_ends_all_and_the_run_goes_on_from_its_state(
    tiny: TinyWorld, tmp_path: Path
) -> None:
    (tmp_path / "dying.py").write_text(IN_RANK_1.replace("{}", "os.kill(os.getpid(), signal.SIGKILL)"))
    every_step = "training.checkpoint_every_steps=1"
    spec = planned(tiny, f"strategy={{name: '{tmp_path}/dying.py:Half'}}", every_step)
    with pytest.raises(RunError, match="a process of this run died") as raised:
        together(spec, tmp_path, Stop())
    assert "rank 1" in str(raised.value)
    resumed = run_once(spec, runs_root=tmp_path, device=torch.device("cpu"))
    assert resumed.is_done
    quiet = run_once(spec, runs_root=tmp_path / "quiet", device=torch.device("cpu"))
    assert len(losses(resumed)) == 6
    assert losses(resumed) == pytest.approx(losses(quiet), rel=1e-5), "by one process, after two"


def test_the_reason_is_told_and_not_what_rank_0_has_heard_of_it(tiny: TinyWorld, tmp_path: Path) -> None:
    (tmp_path / "failing.py").write_text(IN_RANK_1.replace("{}", "raise ZeroDivisionError('my own mistake')"))
    spec = planned(tiny, f"strategy={{name: '{tmp_path}/failing.py:Half'}}")
    with pytest.raises(RunError, match="ZeroDivisionError: my own mistake"):
        together(spec, tmp_path, Stop())
    (found,) = find_runs(tmp_path, [spec.id]).values()
    assert found.failure is not None
    assert "my own mistake" in found.failure.error
    assert found.holder is None


def test_a_run_that_was_laid_is_trained_by_the_processes_of_torchrun(tiny: TinyWorld, tmp_path: Path) -> None:
    study = work_on(open_study_file(tiny.study, overrides=["search=null"]), output=tmp_path, device="cpu")
    (directory,) = study.leave(study.plan(["none"]))
    launcher = ["torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m", "pgsbench"]
    command = [sys.executable, "-m", *launcher, "run", str(directory)]
    done = subprocess.run(command, cwd=tmp_path, env=os.environ, capture_output=True, text=True, timeout=280)
    assert done.returncode == 0, done.stderr
    found = RunDir(directory)
    assert found.is_done
    assert [line["step"] for line in found.metrics()] == [1, 2, 3, 4, 5, 6], "rank 0 alone writes"
    assert study.leave(study.plan(["none"])) == []


# ----------------------------------------------------------------------------------------------------- Dask


def test_a_sweep_on_dask_is_that_of_one_machine_though_a_worker_is_killed(
    tiny: TinyWorld, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    distributed = pytest.importorskip("distributed")
    waits = f"while os.environ.get('WAITS') and view.progress > 0.4 and not os.path.exists('{tmp_path}/go'):"
    waiting = HALF.replace(
        "        return", f"        {waits}\n            time.sleep(0.02)\n        return", 1
    )
    (tmp_path / "waiting.py").write_text(f"import os, time\n{waiting}")
    changes = [f"strategy={{name: '{tmp_path}/waiting.py:Half'}}", "arms={}"]
    changes += ["search={space: {strategy.mask_ratio: [0.5]}}"]
    study = open_study_file(tiny.study, overrides=changes)
    cluster = distributed.LocalCluster(
        n_workers=1, env={"WAITS": "1"}, dashboard_address=":0", local_directory=str(tmp_path / "dask")
    )
    with cluster:
        address = cluster.scheduler_address
        there = work_on(study, output=tmp_path / "there", on=f"dask:{address}", device="cpu")
        killed: list[int] = []

        def kill_one() -> None:
            steps = [RunDir(path).last_step() for path in tmp_path.glob("there/runs/tiny/*-*")]
            if not killed and any(step == 3 for step in steps):
                killed.append(next(iter(cluster.workers.values())).pid)
                os.kill(killed[0], signal.SIGKILL)
                (tmp_path / "go").touch()

        monkeypatch.setattr(
            "pgsbench.session.study.search", lambda *at: search(*at[:3], _with(at[3], kill_one))
        )
        with no_figures():
            there.sweep()
            assert there.failed == []
            assert killed
            shutil.rmtree(next(tmp_path.glob("there/runs/tiny/*-*")))
            there.sweep()  # the same engine takes another call
        assert there.failed == []
        work_on(study, output=tmp_path / "here", jobs=1, device="cpu").sweep()
    found = weights(tmp_path / "there/runs")
    assert len(found) == 1
    assert found == weights(tmp_path / "here")


def _with(watcher: Watcher, tick) -> Watcher:
    before = watcher.on_tick
    watcher.on_tick = lambda: (before(), tick())
    return watcher


def test_an_address_where_no_scheduler_answers_is_named(
    tiny: TinyWorld, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("distributed")
    monkeypatch.setattr("pgsbench.execution.dask.ANSWER_SECONDS", 1)
    study = open_study_file(tiny.study)
    with pytest.raises(ConfigError, match="no scheduler of Dask answers"):
        work_on(study, output=tmp_path, on="dask:tcp://127.0.0.1:9")
