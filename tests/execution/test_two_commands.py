"""Two commands on one study: neither takes out what the other one plans."""

from __future__ import annotations

from pathlib import Path

import pytest
from tinyworld import TinyWorld

from pgsbench.execution import folder as folders
from pgsbench.execution.folder import StudyFolder
from pgsbench.execution.join import joined_file
from pgsbench.records.study_record import StudyRecord, StudyRun, read_planned, write_planned
from pgsbench.study.open import open_study_file
from pgsbench.study.plan import Planner, with_arms
from pgsbench.tracking.rundir import RunDir


def command(
    tiny: TinyWorld, root: Path, monkeypatch: pytest.MonkeyPatch, *arms: str, changed: tuple[str, ...] = ()
) -> StudyFolder:
    """Return the folder of a command of a process of its own that names strategies, entered."""
    monkeypatch.setattr(folders, "_met", {}, raising=False)
    study = with_arms(open_study_file(tiny.study, overrides=("search=null", *changed)), arms)
    folder = StudyFolder.open(Planner(study), root, "cmd")
    folder.add(folder.planner.specs(arms))
    return folder


def arms_entered(root: Path) -> list[str]:
    return [run.spec.arm for run in read_planned(root / "tiny")]


def test_strategies_that_two_commands_name_stay_in_the_record(
    tiny: TinyWorld, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = command(tiny, tmp_path, monkeypatch, "pgs", "grid")
    second = command(tiny, tmp_path, monkeypatch, "pgs", "random")
    assert arms_entered(tmp_path) == ["pgs", "grid", "random"]
    first.write()
    assert arms_entered(tmp_path) == ["pgs", "grid", "random"]
    for folder in (first, second):
        folder.refresh()
        assert [run.spec.arm for run in folder.runs.values()] == ["pgs", "grid", "random"]
    other_base = ("training.samples=160",)
    command(tiny, tmp_path, monkeypatch, "pgs", changed=other_base)
    assert arms_entered(tmp_path) == ["pgs"], "the strategies had the old base"


def test_a_worker_works_on_the_strategies_of_both(
    tiny: TinyWorld, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for strategy in ("grid", "random"):
        command(tiny, tmp_path, monkeypatch, strategy)
    file = joined_file(StudyRecord.read(tmp_path / "tiny"))
    worker = StudyFolder.open(Planner(file), tmp_path, command=None)
    assert [run.spec.arm for run in worker.runs.values()] == ["grid", "random"]
    worker.add([run.spec for run in worker.runs.values()])
    command(tiny, tmp_path, monkeypatch, "pgs")
    assert arms_entered(tmp_path) == ["grid", "random", "pgs"]


def test_an_arm_that_the_file_has_no_more_goes_unless_it_is_worked_on(
    tiny: TinyWorld, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = command(tiny, tmp_path, monkeypatch, "flip", "none")
    (none,) = [run.spec for run in before.runs.values() if run.spec.arm == "none"]
    with RunDir.create(tmp_path, none).claim():
        command(tiny, tmp_path, monkeypatch, "pgs", changed=("arms={}",))
        assert arms_entered(tmp_path) == ["none", "pgs"]
    command(tiny, tmp_path, monkeypatch, "pgs", changed=("arms={}",))
    assert arms_entered(tmp_path) == ["pgs"]


def test_what_another_command_enters_meanwhile_is_left_alone(
    tiny: TinyWorld, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = command(tiny, tmp_path, monkeypatch, "flip")
    newer = Planner(
        open_study_file(tiny.study, overrides=("search=null", "arms={new: {strategy: {mask_ratio: 0.25}}}"))
    )
    new = newer.specs(["new"])
    write_planned(tmp_path / "tiny", [StudyRun(spec, spec.folder) for spec in new])  # by another process
    first.add(first.planner.specs(["none"]))
    assert arms_entered(tmp_path) == ["flip", "new", "none"]
