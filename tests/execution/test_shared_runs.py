"""A run that two studies have planned, or two commands have begun: it is trained once and counted once."""

from __future__ import annotations

from concurrent.futures import Future
from pathlib import Path

import pytest
import test_many_processes as many
from test_search import finish
from tinyworld import TinyWorld

from pgsbench.disk import leases
from pgsbench.errors import RunHeldError, StudyError
from pgsbench.execution import folder as folders
from pgsbench.execution import join as joining
from pgsbench.execution import worker
from pgsbench.execution.folder import StudyFolder
from pgsbench.execution.local import Ended, Engine
from pgsbench.execution.pending import Pending
from pgsbench.execution.runs import Watcher
from pgsbench.execution.slots import Slots
from pgsbench.execution.status import statuses
from pgsbench.records.marks import Failure, Marks
from pgsbench.records.run_spec import RunSpec
from pgsbench.tracking.rundir import RunDir


def planned(tiny: TinyWorld, root: Path, name: str) -> tuple[StudyFolder, RunSpec]:
    folder = many.folder_of(tiny.study, root, ["search=null", f"name={name}"])
    (spec,) = folder.planner.specs(["pgs"])
    folder.add([spec])
    return folder, spec


def test_a_run_that_another_study_has_begun_is_waited_for(tiny: TinyWorld, tmp_path: Path) -> None:
    (three, theirs), (four, ours) = (planned(tiny, tmp_path, name) for name in ("three", "four"))
    assert theirs.id == ours.id
    notes: list[str] = []
    pending = Pending(four, [ours], on_note=notes.append)
    assert pending.next() == ours
    run = RunDir.create(tmp_path, theirs)
    with run.claim():
        assert [one.state for one in statuses(four.path)] == ["running"]
        assert not pending.close(Ended(ours, error=RunHeldError("another process works on this run")))
        assert pending.next() is None
        assert "is worked on elsewhere" in notes[0]
        finish(three, theirs, 0.5)
    assert pending.next() is None
    assert pending.ended_elsewhere() == [Ended(ours, theirs.folder, is_ours=False)]
    assert [one.state for one in statuses(four.path)] == ["done"]


def test_a_run_whose_holder_only_seems_lost_leaves_the_slot_to_others(
    tiny: TinyWorld, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, spec = planned(tiny, tmp_path, "three")
    held = RunHeldError("another process works on this run")
    for seconds, then in ((60.0, None), (0.0, spec)):
        monkeypatch.setattr(leases, "BEAT_SECONDS", seconds)
        pending = Pending(folder, [spec])
        assert pending.next() == spec
        assert not pending.close(Ended(spec, error=held))
        assert pending.next() == then


class Now(Engine):
    """Does at once what a worker process does."""

    def __init__(self, root: Path) -> None:
        super().__init__(["cpu"])
        self.root = root

    def __enter__(self) -> Now:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def _start(self, spec: RunSpec, slot: str) -> Future[str]:
        future = Future[str]()
        try:
            future.set_result(worker.work(spec, self.root, slot))
        except Exception as error:
            future.set_exception(error)
        return future


def test_a_run_that_is_complete_when_a_worker_gets_it_was_not_trained_here(
    tiny: TinyWorld, tmp_path: Path
) -> None:
    folder, spec = planned(tiny, tmp_path, "three")
    finish(folder, spec, 0.5)
    assert Now(tmp_path).step(iter([spec, None]).__next__) == [Ended(spec, spec.folder, is_ours=False)]


def test_who_waits_for_a_study_looks_less_and_less_often(
    tiny: TinyWorld, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, other = (many.folder_of(tiny.study, tmp_path, ["search=null"]) for _ in range(2))
    pauses: list[float] = []
    with folder.alone():

        def pause(seconds: float) -> None:
            pauses.append(seconds)
            if len(pauses) == 8:
                (held,) = folder.path.glob(".lease-*.held")
                held.rename(held.with_suffix(".free"))

        monkeypatch.setattr(folders.time, "sleep", pause)
        with other.alone():
            pass
    assert pauses[0] == folders.ALONE_POLL_SECONDS
    assert pauses == sorted(pauses)
    assert pauses[-2:] == [folders.ALONE_MAX_SECONDS] * 2


def test_a_worker_takes_runs_that_are_wanted_again_and_those_that_others_enter(
    tiny: TinyWorld, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, spec = planned(tiny, tmp_path, "three")
    other = many.folder_of(tiny.study, tmp_path, ["search=null", "name=three", "seeds=[0, 1]"])
    _, more = other.planner.specs(["pgs"])
    taken: list[RunSpec | None] = []

    def train(folder: StudyFolder, _: object, __: object, pending: Pending) -> list[Ended]:
        taken.append(pending.next())
        folder.marks.fail(spec.id, Failure("no such shard"))
        pending.close(Ended(spec, error=StudyError("no such shard")))
        taken.append(pending.next())
        Marks(folder.path).try_again([spec.id])  # as `study retry` does
        taken.append(pending.next())
        other.add([more])
        taken.append(pending.next())
        taken.append(pending.next())
        return []

    monkeypatch.setattr(joining, "train", train)
    monkeypatch.setattr(joining, "LOOK_SECONDS", 0.0)
    joining.join(folder, Slots(("cpu",), 1), Watcher())
    assert taken == [spec, None, spec, more, None]
