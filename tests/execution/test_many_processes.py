"""Several processes on one study: each run is trained once, nobody fails another's trial, nothing is lost."""

from __future__ import annotations

import multiprocessing
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import optuna
import pytest
import test_search
from servers import Postgres
from tinyworld import TinyWorld

from pgsbench.disk import leases
from pgsbench.errors import RunHeldError, StudyError
from pgsbench.execution import folder as folder_module
from pgsbench.execution import local
from pgsbench.execution import runs as runs_module
from pgsbench.execution.folder import StudyFolder
from pgsbench.execution.local import Ended
from pgsbench.execution.runs import Watcher, work_off
from pgsbench.execution.search import search
from pgsbench.execution.slots import Slots
from pgsbench.records.marks import Failure
from pgsbench.records.run_spec import RunSpec
from pgsbench.study.open import open_study_file
from pgsbench.study.plan import Planner
from pgsbench.tracking.rundir import RunDir

FORK = multiprocessing.get_context("fork")


class Engine:
    """Stands for worker processes: a run takes milliseconds, and is claimed as a real one is."""

    running: tuple[RunSpec, ...] = ()

    def __init__(self, folder: StudyFolder, seconds: float) -> None:
        self.folder, self.seconds = folder, seconds

    def __enter__(self) -> Engine:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def step(self, next_run: Callable[[], RunSpec | None]) -> list[Ended]:
        spec = next_run()
        if spec is None:
            time.sleep(0.01)
            return []
        run = RunDir.create(self.folder.runs_root, spec)
        try:
            with run.claim():
                if not run.is_done:
                    self._log("worked", f"begin {spec.id} {os.getpid()}")
                    time.sleep(self.seconds * random.random())
                    ratio = spec.config.strategy.fields["mask_ratio"]
                    self._log("trained", spec.name)
                    test_search.finish(self.folder, spec, ratio)
                    self._log("worked", f"end {spec.id} {os.getpid()}")
        except RunHeldError as error:
            return [Ended(spec, error=error)]
        return [Ended(spec, directory=spec.folder)]

    def _log(self, name: str, line: str) -> None:
        with (self.folder.runs_root / name).open("a") as file:
            file.write(f"{line}\n")


def take_part(study: Path, runs_root: Path, overrides: list[str], seconds: float = 0.03) -> None:
    """Do what a `sweep` does, with made-up trainings."""
    random.seed(os.getpid())
    folder = folder_of(study, runs_root, overrides)
    runs_module.LocalEngine = lambda *_: Engine(folder, seconds)  # type: ignore
    if folder.study.config.search is None:
        work_off(folder, folder.planner.specs(folder.study.config.arm_names), Slots(("cpu",), 1), Watcher())
    else:
        search(folder, [], Slots(("cpu",), 1), Watcher(on_note=print))


def folder_of(study: Path, runs_root: Path, overrides: list[str]) -> StudyFolder:
    opened = open_study_file(study, overrides=("arms={}", *overrides))
    return StudyFolder.open(Planner(opened), runs_root)


def start(count: int, *args: object) -> list[multiprocessing.process.BaseProcess]:
    processes = [FORK.Process(target=take_part, args=args) for _ in range(count)]
    for process in processes:
        process.start()
    return processes


def trained(runs_root: Path) -> list[str]:
    return (runs_root / "trained").read_text().splitlines()


def check_complete(study: Path, runs_root: Path, overrides: list[str], count: int, storage: str) -> None:
    """Check that a search is complete and said so once for each point."""
    folder = folder_of(study, runs_root, overrides)
    assert len(folder.runs) == count
    assert all(folder.is_complete(run.spec) for run in folder.runs.values())
    (name,) = optuna.get_all_study_names(storage)
    trials = optuna.load_study(storage=storage, study_name=name).trials
    complete = [trial for trial in trials if trial.state.name == "COMPLETE"]
    assert not [trial for trial in trials if trial.state.name == "RUNNING"]
    labels = {trial.user_attrs["label"] for trial in complete}
    assert len(complete) == len(labels) == len({run.spec.label for run in folder.runs.values()})
    for trial in complete:
        assert trial.value == trial.params["strategy.mask_ratio"]


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPTUNA_STORAGE", raising=False)
    monkeypatch.setattr(local, "IDLE_SECONDS", 0.01)
    monkeypatch.setattr(folder_module, "ALONE_POLL_SECONDS", 0.003)


RANDOM = [
    "search={sampler: random, trials: 7, space: {strategy.mask_ratio: {low: 0.1, high: 0.9}}, arms: [pgs]}",
    "seeds=[0, 1]",
]


def test_a_search_that_three_join_trains_each_run_once(tiny: TinyWorld, tmp_path: Path) -> None:
    root = tmp_path / "runs"
    processes = start(3, tiny.study, root, RANDOM)
    for process in processes:
        process.join()
        assert process.exitcode == 0
    assert len(trained(root)) == len(set(trained(root))) == 14
    check_complete(tiny.study, root, RANDOM, 14, f"sqlite:///{root}/tiny/optuna.db")


def test_who_is_killed_is_followed_by_the_others(tiny: TinyWorld, tmp_path: Path) -> None:
    root = tmp_path / "runs"
    processes = start(3, tiny.study, root, RANDOM, 0.2)
    while not (root / "trained").is_file():
        time.sleep(0.01)
    os.kill(processes[0].pid or 0, signal.SIGKILL)
    for process in processes[1:]:
        process.join()
        assert process.exitcode == 0
    assert len(set(trained(root))) == 14
    check_complete(tiny.study, root, RANDOM, 14, f"sqlite:///{root}/tiny/optuna.db")


def test_a_run_that_fails_elsewhere_is_not_tried_again_here(tiny: TinyWorld, tmp_path: Path) -> None:
    folder = folder_of(tiny.study, tmp_path, ["search=null"])
    (spec,) = folder.planner.specs(["pgs"])
    run = RunDir.create(tmp_path, spec)
    failed: list[str] = []

    class Elsewhere(Engine):
        def step(self, next_run: Callable[[], RunSpec | None]) -> list[Ended]:
            if folder.marks.failure(spec.id) is None:
                with run.claim():  # another process is quicker
                    assert next_run() is None
                    folder.marks.fail(spec.id, Failure("out of memory"))
            assert next_run() is None
            return []

    runs_module.LocalEngine, before = lambda *_: Elsewhere(folder, 0), runs_module.LocalEngine
    try:
        found = work_off(
            folder,
            [spec],
            Slots(("cpu",), 1),
            Watcher(on_failed=lambda spec, error: failed.append(spec.name)),
        )
    finally:
        runs_module.LocalEngine = before
    assert [str(error) for _, error in found] == ["out of memory"]
    assert failed == ["pgs s0"]


def test_a_cancelled_study_ends_every_command(tiny: TinyWorld, tmp_path: Path) -> None:
    folder = folder_of(tiny.study, tmp_path, ["search=null"])

    class Cancelled(Engine):
        def step(self, next_run: Callable[[], RunSpec | None]) -> list[Ended]:
            folder.marks.cancel()
            return []

    runs_module.LocalEngine, before = lambda *_: Cancelled(folder, 0), runs_module.LocalEngine
    try:
        with pytest.raises(StudyError, match="cancelled"):
            work_off(folder, folder.planner.specs(["pgs"]), Slots(("cpu",), 1), Watcher())
        take_part(tiny.study, tmp_path, ["search=null"], 0)  # the same command goes on
    finally:
        runs_module.LocalEngine = before
    assert trained(tmp_path) == ["pgs s0"]


# ------------------------------------------------------------------------------------------------ PostgreSQL


@pytest.fixture(scope="module")
def postgres() -> Iterator[str]:
    """A server on loopback with a folder of its own; gives the address of a database."""
    if not Postgres.is_installed():
        pytest.skip("PostgreSQL is not installed (Debian: apt-get install postgresql)")
    pytest.importorskip("psycopg")
    server = Postgres()
    try:
        yield server.address
    finally:
        server.close()


def _elsewhere(*args: object) -> None:
    leases._machine = lambda: "elsewhere"  # type: ignore
    take_part(*args)  # type: ignore


def test_four_on_two_machines_share_a_search_in_postgresql(
    tiny: TinyWorld, tmp_path: Path, postgres: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPTUNA_STORAGE", postgres)
    for name, value in (("BEAT_SECONDS", 0.1), ("LEASE_SECONDS", 2.0), ("WATCH_SECONDS", 1.0)):
        monkeypatch.setattr(leases, name, value)
    root, args = tmp_path / "runs", (tiny.study, tmp_path / "runs", RANDOM, 0.2)
    processes = [FORK.Process(target=_elsewhere, args=args) for _ in range(2)]
    for process in processes:
        process.start()
    here = start(2, *args)
    while not (root / "trained").is_file():
        time.sleep(0.01)
    os.kill(processes[0].pid or 0, signal.SIGKILL)
    for process in [processes[1], *here]:
        process.join()
        assert process.exitcode == 0
    assert len(set(trained(root))) == 14
    check_complete(tiny.study, root, RANDOM, 14, postgres)


@pytest.mark.timeout(900)  # it starts dozens of processes, and a busy machine has no hurry
def test_a_short_campaign_of_faults(tmp_path: Path) -> None:
    """`make chaos` runs the long one."""
    script = Path(__file__).with_name("chaos.py")
    done = subprocess.run(
        [sys.executable, str(script), "--schedules", "3", "--servers", "0", "--real", "0", "--together", "0"],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "SCHEDULES: 3, failures: 0" in done.stdout
