"""The driver: each run is worked on once, by one command, whoever else wants it; what fails fails alone."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import time
from concurrent.futures import Future
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

import pytest
from made_up import MadeUpEngine, finish, folder_of, ratio_of
from tinyworld import TinyWorld

from pgsbench.disk import held
from pgsbench.errors import Interrupted, RunError, RunHeldError, StudyError
from pgsbench.execution import ledger as ledger_module
from pgsbench.execution.driver import Watcher, enter, work_off
from pgsbench.execution.ledger import driving
from pgsbench.execution.search import search
from pgsbench.records.run_records import Failure
from pgsbench.records.run_spec import RunSpec
from pgsbench.tracking.rundir import RunDir
from pgsbench.tracking.states import state, statuses

FORK = multiprocessing.get_context("fork")
RANDOM = [
    "search={sampler: random, trials: 7, space: {strategy.mask_ratio: {low: 0.1, high: 0.9}}, arms: [pgs]}",
    "seeds=[0, 1]",
]


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ledger_module, "WAIT_SECONDS", 0.02)
    monkeypatch.setattr(held, "POLL_SECONDS", 0.02)


def planned(tiny: TinyWorld, root: Path, study: str = "tiny"):
    folder = folder_of(tiny.study, root, ["search=null", f"name={study}"])
    specs = folder.planner.specs(["pgs"])
    folder.add(specs)
    return folder, specs[0]


class Answering(MadeUpEngine):
    """Answers with what a test says, in place of working."""

    def __init__(self, folder, *answers) -> None:
        super().__init__(folder)
        self.answers = list(answers)

    def submit(self, spec: RunSpec, run: RunDir) -> Future[None]:
        future: Future[None] = Future()
        RunDir.create(self.folder.runs_root, spec)
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            future.set_exception(answer)
        else:
            answer(spec, run)
            future.set_result(None)
        return future


# ------------------------------------------------------------------------------------- one driver a study


def sweep(study: Path, root: Path, seconds: float, *, wait: bool = True) -> None:
    """Do what `pgsbench sweep` does, with made-up trainings."""
    with driving(root / "tiny", wait=wait, say=print):
        folder = folder_of(study, root, RANDOM)
        search(folder, [], MadeUpEngine(folder, seconds=seconds), Watcher())


def test_commands_of_one_study_wait_for_each_other_and_train_each_run_once(
    tiny: TinyWorld, tmp_path: Path
) -> None:
    processes = [FORK.Process(target=sweep, args=(tiny.study, tmp_path, 0.02)) for _ in range(3)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
        assert process.exitcode == 0
    trained = (tmp_path / "trained").read_text().splitlines()
    assert len(trained) == len(set(trained)) == 14
    folder = folder_of(tiny.study, tmp_path, RANDOM)
    assert all(folder.is_complete(run.spec) for run in folder.runs.values())
    assert len({run.spec.label for run in folder.runs.values()}) == 7


def test_a_driver_that_is_killed_is_followed(tiny: TinyWorld, tmp_path: Path) -> None:
    first = FORK.Process(target=sweep, args=(tiny.study, tmp_path, 0.2))
    first.start()
    while not (tmp_path / "trained").is_file():
        time.sleep(0.01)
    os.kill(first.pid or 0, signal.SIGKILL)
    first.join()
    sweep(tiny.study, tmp_path, 0.0)
    assert len(set((tmp_path / "trained").read_text().splitlines())) == 14
    folder = folder_of(tiny.study, tmp_path, RANDOM)
    assert len(folder.runs) == 14
    assert all(folder.is_complete(run.spec) for run in folder.runs.values())


def test_who_does_not_wait_is_told_who_drives(tiny: TinyWorld, tmp_path: Path) -> None:
    with driving(tmp_path / "tiny", wait=True, say=print):
        with pytest.raises(StudyError, match=rf"another command drives this study \(process {os.getpid()}"):
            sweep(tiny.study, tmp_path, 0.0, wait=False)
        said: list[str] = []

        def follow() -> None:
            with driving(tmp_path / "tiny", wait=True, say=said.append):
                said.append("in")

        other = threading.Thread(target=follow)
        other.start()
        while not said:
            time.sleep(0.01)
    other.join()
    assert "this one waits for it" in said[0]
    assert said[1:] == ["in"]


# -------------------------------------------------------------------------------------- runs that are shared


def test_a_run_that_another_study_works_on_is_waited_for(tiny: TinyWorld, tmp_path: Path) -> None:
    three, theirs = planned(tiny, tmp_path, "three")
    four, ours = planned(tiny, tmp_path, "four")
    assert ours.id == theirs.id
    run, notes, done = RunDir.create(tmp_path, theirs), list[str](), list[str]()
    begun, may_end = threading.Event(), threading.Event()

    def work() -> None:
        with run.claim():
            begun.set()
            may_end.wait()
            finish(three, theirs, 0.5)

    other = threading.Thread(target=work)
    other.start()
    begun.wait()
    watcher = Watcher(
        on_note=lambda text: (notes.append(text), may_end.set()), on_done=lambda spec, how: done.append(how)
    )
    assert work_off(four, [ours], MadeUpEngine(four), watcher) == []
    other.join()
    assert "is worked on elsewhere" in notes[0]
    assert done == ["reused"]
    assert [one.state for one in statuses(four.path)] == ["done"]


def test_a_run_that_was_taken_in_between_is_looked_at_again(tiny: TinyWorld, tmp_path: Path) -> None:
    folder, spec = planned(tiny, tmp_path)
    done: list[str] = []
    engine = Answering(
        folder, RunHeldError("another process works on it"), lambda spec, run: finish(folder, spec, 0.5)
    )
    assert work_off(folder, [spec], engine, Watcher(on_done=lambda spec, how: done.append(how))) == []
    assert done == ["trained"]


# --------------------------------------------------------------------------------------------- how runs end


def test_a_failure_is_told_with_its_reason_and_stops_nothing_else(tiny: TinyWorld, tmp_path: Path) -> None:
    folder = folder_of(tiny.study, tmp_path, ["search=null", "seeds=[0, 1]"])
    bad, good = folder.planner.specs(["pgs"])

    def value(spec: RunSpec) -> float:
        if spec.seed == 0:
            raise StudyError("no such shard")
        return ratio_of(spec)

    missing = enter(folder, [bad, good], Watcher())
    failed = work_off(folder, missing, MadeUpEngine(folder, value), Watcher())
    assert [(spec.seed, str(error)) for spec, error in failed] == [(0, "no such shard")]
    assert [state(folder.directory(spec)) for spec in (bad, good)] == ["failed", "done"]
    assert enter(folder, [bad, good], Watcher()) == [bad], "the next command tries it again"
    assert state(folder.directory(bad)) == "waiting"


@pytest.mark.parametrize(
    ("error", "said", "then"),
    [
        (BrokenProcessPool(), "the worker process died", "failed"),
        (RunError("its job ended without a word: killed"), "its job ended without a word: killed", "failed"),
        (Interrupted(), "it was asked to end; its state is saved", "waiting"),
    ],
)
def test_what_leaves_no_word_gets_one(
    tiny: TinyWorld, tmp_path: Path, error: Exception, said: str, then: str
) -> None:
    folder, spec = planned(tiny, tmp_path)
    ((_, found),) = work_off(folder, [spec], Answering(folder, error), Watcher())
    assert said in str(found)
    assert state(folder.directory(spec)) == then


def test_what_a_run_wrote_is_believed_before_what_its_future_says(tiny: TinyWorld, tmp_path: Path) -> None:
    folder, spec = planned(tiny, tmp_path)

    def fail(spec: RunSpec, run: RunDir) -> None:
        RunDir.create(tmp_path, spec).fail(Failure("rank 1 cannot read its pairs"))

    ((_, error),) = work_off(folder, [spec], Answering(folder, fail), Watcher())
    assert str(error) == "rank 1 cannot read its pairs"


def test_a_run_that_needs_only_its_evaluation_is_told_apart(tiny: TinyWorld, tmp_path: Path) -> None:
    folder, spec = planned(tiny, tmp_path)
    weights = RunDir.create(tmp_path, spec).checkpoint / "open_clip_model.safetensors"
    weights.parent.mkdir(parents=True)
    weights.touch()
    done: list[str] = []
    work_off(folder, [spec], MadeUpEngine(folder), Watcher(on_done=lambda spec, how: done.append(how)))
    assert done == ["evaluated"]
