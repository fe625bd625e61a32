"""A study that others work on: its search becomes jobs, and one looks at it until all has ended."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from tinyworld import TinyWorld
from typer.testing import CliRunner

from pgsbench.cli.app import app
from pgsbench.errors import ConfigError
from pgsbench.execution import slurm
from pgsbench.execution.folder import StudyFolder
from pgsbench.execution.join import numerics_of
from pgsbench.execution.runs import Watcher
from pgsbench.execution.slots import Slots
from pgsbench.records.study_record import StudyRecord, StudyRun, write_planned
from pgsbench.session import jobs, workers
from pgsbench.session.study import Study, open_study
from pgsbench.study.open import open_by_name


@pytest.mark.parametrize(
    ("search", "submitted"),
    [({}, ["RunJob"] * 6), ({"sampler": "random", "trials": 3}, ["WorkerJob"] * 3)],
)
def test_a_search_is_jobs_that_the_command_waits_for(
    tiny: TinyWorld,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    search: dict[str, object],
    submitted: list[str],
) -> None:
    (tmp_path / "cluster.yaml").write_text("profiles:\n  small: {parallel: 4}\n")
    monkeypatch.setenv("PGSBENCH_CLUSTER", str(tmp_path / "cluster.yaml"))
    asked: list[Any] = []
    waited: list[int] = []

    def submit(jobs: Any, *_: object, **__: object) -> list[str]:
        asked.extend(jobs)
        return [str(number) for number, _ in enumerate(jobs)]

    def wait(folder: StudyFolder, what: Any, _: Watcher) -> list[Any]:
        waited.append(len(what))
        return []

    monkeypatch.setattr(slurm, "submit", submit)
    monkeypatch.setattr(slurm, "wait_for", wait)
    monkeypatch.setattr(slurm, "wait_for_jobs", wait)
    monkeypatch.setattr(Study, "_finish", lambda self, **_: "what was found")
    overrides = {f"search.{key}": value for key, value in search.items()}
    file = open_by_name(tiny.study, overrides=overrides)
    study = workers.for_others(file, on="slurm", output=tmp_path)
    assert study.sweep() == "what was found"
    assert [type(job).__name__ for job in asked] == submitted
    assert waited == [len(submitted)]


def test_a_study_is_looked_at_until_all_has_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    looks = [["running", "failed"], ["lost", "failed"], ["done"], ["pruned", "failed"], ["done"]]
    draws = iter([True, False])  # the third look is between two points of a search
    states = iter([SimpleNamespace(state=state) for state in look] for look in looks)
    monkeypatch.setattr(workers, "status", lambda *_, **__: next(states))
    monkeypatch.setattr(workers, "study_folder", lambda *_: Path())
    monkeypatch.setattr(workers, "may_draw", lambda _: next(draws))
    assert len(list(workers.watch("tiny", seconds=0))) == 4


def test_what_is_left_is_told_with_the_folder_it_lies_in(
    tiny: TinyWorld, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for output, where in ((".", ""), ("else where", f" --output '{tmp_path}/else where'")):
        study = open_study(tiny.study, output=output)
        said = workers.Left([], ["7"]).words(study).splitlines()
        status, worker = (f"pgsbench {verb} tiny{where}" for verb in ("study status", "worker"))
        assert said == ["tiny: 0 runs missing, 1 job submitted", status, worker]


@pytest.mark.parametrize("part", ["runs", "reports"])
def test_a_file_in_the_place_of_a_folder_is_told_before_anything_is_planned(
    tiny: TinyWorld, tmp_path: Path, part: str
) -> None:
    (tmp_path / part).touch()
    with pytest.raises(ConfigError, match=f"{part} cannot be written: .*/{part} is no folder"):
        open_study(tiny.study, output=tmp_path)


def test_a_worker_trains_a_run_on_as_many_devices_as_the_study_says(
    tiny: TinyWorld, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = list[Slots]()

    def join(_: StudyFolder, slots: Slots, __: Watcher) -> list[Any]:
        found.append(slots)
        return []

    monkeypatch.setattr("pgsbench.execution.slots.usable_cores", lambda: 4)
    monkeypatch.setattr("pgsbench.execution.join.join", join)
    file = open_by_name(tiny.study, overrides=["devices_per_run=2", "search=null", "name=tiny"])
    workers.leave(workers.for_others(file, output=tmp_path, device="cpu", threads=1), ["pgs"])
    jobs.work("tiny", output=tmp_path)
    assert found == [Slots(("cpu,cpu", "cpu,cpu"), 1)]


def test_a_worker_takes_the_numerics_of_the_plan_and_not_those_of_a_reused_run(
    tiny: TinyWorld, tmp_path: Path
) -> None:
    study = workers.for_others(open_by_name(tiny.study), output=tmp_path, device="cpu", threads=2)
    (planned,) = workers.leave(study, ["pgs"]).missing
    reused = replace(planned, arm="none", numerics=replace(planned.numerics, device="cuda", threads=0))
    folder = tmp_path / "runs/tiny"
    write_planned(folder, [StudyRun(reused, reused.folder)])
    assert numerics_of(StudyRecord.read(folder)) == planned.numerics
    said = json.loads((folder / "study.json").read_text())
    del said["numerics"]  # as an older command wrote it
    (folder / "study.json").write_text(json.dumps(said))
    assert numerics_of(StudyRecord.read(folder)) == reused.numerics


@pytest.mark.parametrize(
    ("command", "said"),
    [
        ("compare --baselines flip --until decided --detach --study", "it has to stay"),
        ("sweep --confirm 3 --detach", "it has to stay"),
        ("compare --baselines flip --until decided --on pbs --study", "no such engine"),
    ],
)
def test_what_cannot_be_left_to_others_is_refused(tiny: TinyWorld, command: str, said: str) -> None:
    done = CliRunner().invoke(app, [*command.split(), str(tiny.study)])
    assert isinstance(done.exception, ConfigError)
    assert said in str(done.exception)
