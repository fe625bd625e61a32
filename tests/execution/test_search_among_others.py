"""A search beside others: it heeds what they say, and leaves to them what is theirs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from multiprocessing.process import BaseProcess
from multiprocessing.synchronize import Event
from pathlib import Path
from typing import Any

import optuna
import pytest
import test_many_processes as many
from test_search import finish
from tinyworld import TinyWorld

from pgsbench.errors import StudyError
from pgsbench.execution import runs as runs_module
from pgsbench.execution import search as search_module
from pgsbench.execution.folder import StudyFolder
from pgsbench.execution.local import Ended
from pgsbench.execution.runs import Watcher
from pgsbench.execution.search import _Book, search
from pgsbench.execution.slots import Slots
from pgsbench.execution.trials import Trials
from pgsbench.records.marks import Failure, Marks
from pgsbench.records.run_spec import RunSpec


def sampled(trials: int) -> list[str]:
    space = "{strategy.mask_ratio: {low: 0.1, high: 0.9}}"
    return [f"search={{sampler: random, trials: {trials}, space: {space}, arms: [pgs]}}"]


class Beside(many.Engine):
    """Works off runs, while others do something before each step."""

    def __init__(self, folder: StudyFolder, meanwhile: Callable[[], None]) -> None:
        super().__init__(folder, 0)
        self.meanwhile = meanwhile

    def step(self, next_run: Callable[[], RunSpec | None]) -> list[Ended]:
        self.meanwhile()
        return super().step(next_run)


def search_beside(
    folder: StudyFolder, meanwhile: Callable[[], None], monkeypatch: pytest.MonkeyPatch
) -> list[tuple[RunSpec, Exception]]:
    monkeypatch.delenv("OPTUNA_STORAGE", raising=False)
    monkeypatch.setattr(runs_module, "LocalEngine", lambda *_: Beside(folder, meanwhile))
    return search(folder, [], Slots(("cpu",), 1), Watcher())


def states(root: Path) -> Counter[str]:
    """Return how many trials of the search there are in each state."""
    storage = f"sqlite:///{root}/tiny/optuna.db"
    (name,) = optuna.get_all_study_names(storage)
    return Counter(one.state.name for one in optuna.load_study(storage=storage, study_name=name).trials)


def test_a_search_that_is_cancelled_draws_no_further_point(
    tiny: TinyWorld, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = many.folder_of(tiny.study, tmp_path, sampled(4))
    with pytest.raises(StudyError, match="cancelled"):
        search_beside(folder, folder.marks.cancel, monkeypatch)
    assert folder.marks.is_cancelled
    assert len(many.trained(tmp_path)) == 1


def test_who_cancels_while_a_search_opens_its_record_means_it_too(
    tiny: TinyWorld, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = many.folder_of(tiny.study, tmp_path, sampled(4))
    folder.marks.cancel()  # before: this command takes it back

    def cancelled_meanwhile(*args: Any) -> Trials:
        assert not folder.marks.is_cancelled
        folder.marks.cancel()
        return Trials(*args)

    monkeypatch.setattr(search_module, "Trials", cancelled_meanwhile)
    with pytest.raises(StudyError, match="cancelled"):
        search_beside(folder, lambda: None, monkeypatch)
    assert not (tmp_path / "trained").exists()


def test_a_point_that_another_process_entered_and_that_failed_is_left_alone(
    tiny: TinyWorld, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, other = (many.folder_of(tiny.study, tmp_path, sampled(3)) for _ in range(2))
    (theirs,) = other.planner.specs(["pgs"], {"strategy.mask_ratio": 0.3})

    def fail() -> None:
        if theirs.name not in other.runs:
            other.add([theirs])
            other.marks.fail(theirs.id, Failure("out of memory"))

    failed = search_beside(folder, fail, monkeypatch)
    assert [(spec.name, str(error)) for spec, error in failed] == [(theirs.name, "out of memory")]
    assert theirs.name not in many.trained(tmp_path)
    assert len(many.trained(tmp_path)) == 2, "the search goes on"
    assert states(tmp_path) == {"COMPLETE": 2, "FAIL": 1}


def begin_a_run(study: Path, root: Path, begun: Event, may_train: Event) -> None:
    folder = many.folder_of(study, root, sampled(1))
    book = _Book(folder, Watcher(), retry=True)
    (spec,) = book.more()
    book.start(spec)
    begun.set()
    may_train.wait()  # its worker process still imports its libraries
    finish(folder, spec, 0.5)
    book.close(spec, None)


def with_a_run_begun(study: Path, root: Path) -> tuple[BaseProcess, Event]:
    """Return a process that has begun a run of a search, and what lets it train."""
    begun, may_train = many.FORK.Event(), many.FORK.Event()
    other = many.FORK.Process(target=begin_a_run, args=(study, root, begun, may_train))
    other.start()
    assert begun.wait(60)
    return other, may_train


def test_who_leaves_closes_no_trial_that_another_process_has_begun(
    tiny: TinyWorld, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("OPTUNA_STORAGE", raising=False)
    other, may_train = with_a_run_begun(tiny.study, tmp_path)
    book = _Book(many.folder_of(tiny.study, tmp_path, sampled(1)), Watcher(), retry=True)
    assert book.begin(), "it knows the point"
    book.leave()
    assert states(tmp_path) == {"RUNNING": 1}
    may_train.set()
    other.join()
    assert states(tmp_path) == {"COMPLETE": 1}


def test_who_leaves_closes_what_a_process_has_begun_that_is_gone(
    tiny: TinyWorld, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("OPTUNA_STORAGE", raising=False)
    other, _ = with_a_run_begun(tiny.study, tmp_path)
    other.kill()
    other.join()
    book = _Book(many.folder_of(tiny.study, tmp_path, sampled(1)), Watcher(), retry=True)
    book.begin()
    book.leave()
    assert states(tmp_path) == {"FAIL": 1}


def test_a_point_that_fails_is_one_trial_for_all_who_hear_of_it(
    tiny: TinyWorld, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("OPTUNA_STORAGE", raising=False)
    changed = [*sampled(1), "seeds=[0, 1]"]
    books = [_Book(many.folder_of(tiny.study, tmp_path, changed), Watcher(), retry=True) for _ in range(3)]
    first, *others = books
    failing, second = first.more()
    for book in others:
        book.begin()
    first.start(failing)
    Marks(tmp_path / "tiny").fail(failing.id, Failure("out of memory"))
    for book in books:
        book.close(failing, StudyError("out of memory"))
    others[0].start(second)  # the other seed of a point that has failed
    others[0].close(second, StudyError("out of memory"))
    assert states(tmp_path) == {"FAIL": 1}
