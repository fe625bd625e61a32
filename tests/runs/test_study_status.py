"""How each run of a study stands, told from files alone."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, replace
from pathlib import Path

import pytest
from study_records import write_study_record
from written import spec_of, write_study

from pgsbench.disk import leases
from pgsbench.errors import StudyError
from pgsbench.execution import slurm, status
from pgsbench.execution.status import RunStatus
from pgsbench.records import files
from pgsbench.records.margin import Margin
from pgsbench.records.marks import Failure, Marks, PrunedMark, Queued
from pgsbench.records.run_spec import Numerics
from pgsbench.records.study_record import DecisionPlan, StudyRecord, StudyRun, write_planned
from pgsbench.reporting.runs.status_table import status_table
from pgsbench.session import jobs, workers
from pgsbench.tracking.rundir import RunDir


def by_name(output: Path) -> dict[str, RunStatus]:
    return {run.name: run for run in workers.status("tiny", output=output)}


def test_each_state_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first, *_ = write_study(tmp_path)
    folder, marks = tmp_path / "runs/tiny", Marks(tmp_path / "runs/tiny")
    specs = {name: spec_of("pgs", 10 + n) for n, name in enumerate(["wait", "queue", "run", "fail", "lost"])}
    write_planned(folder, [StudyRun(spec, spec.folder) for spec in specs.values()])
    marks.queue(specs["queue"].id, Queued("7_0", "jobs/7"))
    marks.fail(specs["fail"].id, Failure("out of memory", "failure.txt"))
    running, lost = (RunDir.create(tmp_path / "runs", specs[name]) for name in ("run", "lost"))
    running.append_metrics({"step": 2, "seconds": 4.0})
    monkeypatch.setattr(slurm, "known_jobs", lambda: {"7_0"})
    with running.claim(), lost.claim():
        (lease,) = lost.path.glob(".lease*")
        lease.write_text(json.dumps(json.loads(lease.read_text()) | {"started": "1"}))
        found = by_name(tmp_path)
    states = {name: found[spec.name].state for name, spec in specs.items()}
    expected = {"wait": "waiting", "queue": "queued", "run": "running", "fail": "failed", "lost": "lost"}
    assert states == expected
    assert found[first.spec.name].state == "done"
    one = found[specs["run"].name]
    batch_size, steps = (getattr(specs["run"].config.training, name) for name in ("batch_size", "steps"))
    assert (one.step, one.samples_per_second) == (2, 2 * batch_size / 4.0)
    assert one.seconds_left == (steps - 2) * 2.0
    table = status_table("tiny", list(found.values()))
    assert table.title.startswith("tiny: 1 waiting, 1 queued, 1 running, 4 done, 1 failed, 1 lost")
    assert "out of memory (failure.txt)" in table.notes[0]
    done = next(row for row in table.cells() if row[1] == first.spec.name)
    assert (done[3], *done[5:]) == ("", "", "")  # nothing is missing
    monkeypatch.setattr(slurm, "known_jobs", lambda: set())
    assert by_name(tmp_path)[specs["queue"].name].state == "lost"


def test_what_has_ended_is_not_lost_with_its_worker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    done, failed, pruned, _ = write_study(tmp_path)
    other = spec_of("none", 0)
    write_planned(tmp_path / "runs/tiny", [StudyRun(other, other.folder)])
    lost = RunDir.create(tmp_path / "runs", other)
    Marks(tmp_path / "runs/tiny").fail(failed.spec.id, Failure("out of memory"))
    mark = PrunedMark("median", "it looked bad", 1, 1.0)
    monkeypatch.setattr(status, "pruned_points", lambda *_: {pruned.spec.label: mark})
    for run in (failed, pruned):
        (run.path / files.DONE).unlink()
    for run in (done, failed, pruned, lost):  # its worker was killed before it could give the lease back
        gone = asdict(leases.this_process()) | {"started": "1"}
        (run.path / ".lease-000001.held").write_text(json.dumps(gone))
    states = [by_name(tmp_path)[run.spec.name].state for run in (done, failed, pruned, lost)]
    assert states == ["done", "failed", "pruned", "lost"]


def test_cancel_and_retry(tmp_path: Path) -> None:
    first, *_ = write_study(tmp_path)
    marks = Marks(tmp_path / "runs/tiny")
    marks.fail(first.spec.id, Failure("out of memory"))
    waiting = spec_of("pgs", 10)
    write_planned(tmp_path / "runs/tiny", [StudyRun(waiting, waiting.folder)])
    assert workers.cancel("tiny", output=tmp_path).words == "cancelled, with 4 of 5 runs ended before"
    assert marks.is_cancelled
    assert workers.retry("tiny", output=tmp_path) == [first.spec.name]
    assert not marks.is_cancelled
    assert marks.failure(first.spec.id) is None


def test_a_study_whose_runs_have_ended_is_not_cancelled(tmp_path: Path) -> None:
    write_study(tmp_path)
    found = workers.cancel("tiny", output=tmp_path)
    assert found.words == "nothing to cancel: its 4 runs ended before"
    assert not Marks(tmp_path / "runs/tiny").is_cancelled


def test_a_comparison_is_cancelled_between_two_seeds(tmp_path: Path) -> None:
    write_study(tmp_path)
    record = StudyRecord.read(tmp_path / "runs/tiny")
    write_study_record(
        replace(record, decision=DecisionPlan("pgs", ("flip",), Margin(0.01), 8)), tmp_path / "runs/tiny"
    )
    workers.cancel("tiny", output=tmp_path)
    assert Marks(tmp_path / "runs/tiny").is_cancelled


def test_a_search_is_cancelled_between_two_points(tmp_path: Path) -> None:
    write_study(tmp_path, search={"space": {"strategy.mask_ratio": [0.5, 0.75]}})
    assert workers.cancel("tiny", output=tmp_path).words == "cancelled, with 2 of 2 runs ended before"
    assert Marks(tmp_path / "runs/tiny").is_cancelled


def test_a_search_has_points_to_draw_while_somebody_is_seen_at_it(tmp_path: Path) -> None:
    write_study(
        tmp_path, search={"space": {"strategy.mask_ratio": [0.5, 0.75]}, "sampler": "random", "trials": 3}
    )
    folder = tmp_path / "runs/tiny"
    assert not status.may_draw(folder), "nobody was ever there"
    lease = leases.Lease(folder)
    assert lease.take()
    assert status.may_draw(folder)
    lease.give_back()
    assert status.may_draw(folder)
    Marks(folder).cancel()
    assert not status.may_draw(folder)
    Marks(folder).go_on()
    (file,) = folder.glob(".lease-*")
    os.utime(file, (1.0, 1.0))
    assert not status.may_draw(folder), "it was left"
    os.utime(file)
    record = StudyRecord.read(folder)
    search = record.config.search.model_copy(update={"trials": 2})
    write_study_record(replace(record, config=record.config.model_copy(update={"search": search})), folder)
    assert not status.may_draw(folder), "it has all points"


def test_a_study_of_another_pytorch_is_not_joined(tmp_path: Path) -> None:
    write_study(tmp_path)
    spec = spec_of("pgs", 9, numerics=Numerics("cpu", "fp32", "1.0.0", 1))
    write_planned(tmp_path / "runs/tiny", [StudyRun(spec, spec.folder)])
    with pytest.raises(StudyError, match=r"trained with PyTorch 1\.0\.0, and here is"):
        jobs.work("tiny", output=tmp_path)
