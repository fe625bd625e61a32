"""A search beside others: it heeds what they say, and leaves to them what is theirs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path

import optuna
import pytest
import test_many_processes as many
from tinyworld import TinyWorld

from pgsbench.errors import StudyError
from pgsbench.execution import runs as runs_module
from pgsbench.execution.folder import StudyFolder
from pgsbench.execution.local import Ended
from pgsbench.execution.runs import Watcher
from pgsbench.execution.search import search
from pgsbench.execution.slots import Slots
from pgsbench.records.marks import Failure
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
