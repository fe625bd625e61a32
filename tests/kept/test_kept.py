"""What earlier versions wrote is read by this one; `make.py` adds what this one writes."""

from __future__ import annotations

import shutil
from pathlib import Path

import optuna
import pytest

from pgsbench.execution.status import statuses
from pgsbench.execution.trials import open_storage
from pgsbench.records.study_record import StudyRecord
from pgsbench.reporting.study_frames import read_frames
from pgsbench.tracking.rundir import all_runs

VERSIONS = sorted(path for path in Path(__file__).parent.iterdir() if (path / "runs").is_dir())


@pytest.mark.parametrize("version", VERSIONS, ids=lambda path: path.name)
def test_a_run_directory_is_read(version: Path) -> None:
    frames = read_frames(version / "runs/kept")
    (run,) = frames.runs
    assert (run.status, run.problem) == ("complete", "")
    assert set(run.values) == {"tiny/colour", "tiny/retrieval"}
    assert run.summary is not None
    assert run.summary.steps == 2
    assert run.scores is not None
    (directory,) = [run for run in all_runs(version / "runs") if run.spec.study == "kept"]
    assert directory.spec.id in directory.path.name
    assert directory.metrics()[-1]["step"] == 2
    assert [run.state for run in statuses(version / "runs/kept")] == ["done"]


@pytest.mark.parametrize("version", VERSIONS, ids=lambda path: path.name)
def test_the_record_of_a_search_is_read(
    version: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("OPTUNA_STORAGE", raising=False)
    assert [run.spec.label for run in StudyRecord.read(version / "runs/searched").runs] == [
        "pgs mask_ratio=0.25",
        "pgs mask_ratio=0.75",
    ]
    shutil.copy(version / "runs/searched/optuna.db", tmp_path / "optuna.db")
    (name,) = optuna.get_all_study_names(f"sqlite:///{tmp_path}/optuna.db")
    trials = open_storage(tmp_path, name).trials
    assert [trial.values for trial in trials] == [[0.25], [0.75]]
    assert [trial.user_attrs["label"] for trial in trials] == ["pgs mask_ratio=0.25", "pgs mask_ratio=0.75"]


def test_there_is_something_of_this_version() -> None:
    assert VERSIONS
