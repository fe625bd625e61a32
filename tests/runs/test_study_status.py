"""How each run of a study stands, told from files alone."""

from __future__ import annotations

import os
import time
from dataclasses import replace
from pathlib import Path

import pytest
from made_study import spec_of, write_study

from pgsbench.config.schema import DuringConfig
from pgsbench.config.search import SearchConfig
from pgsbench.disk import held
from pgsbench.execution import slurm
from pgsbench.records import files
from pgsbench.records.run_records import Failure, Job, PrunedMark
from pgsbench.records.run_spec import RunSpec
from pgsbench.records.study_record import Entry, StudyRecord
from pgsbench.reporting.plan_tables import status_table
from pgsbench.session import running
from pgsbench.tracking.rundir import RunDir
from pgsbench.tracking.states import RunStatus, state


def by_name(output: Path) -> dict[str, RunStatus]:
    return {run.name: run for run in running.status("tiny", output=output)}


def enter(folder: Path, *specs: RunSpec) -> list[RunDir]:
    record = StudyRecord.read(folder)
    replace(record, runs=(*record.runs, *(Entry(spec, spec.folder) for spec in specs))).write(folder)
    return [RunDir.create(folder.parent, spec) for spec in specs]


def lose(run: RunDir) -> None:
    """Leave the lease of a process that is gone, as one that was killed does."""
    (run.path / held.LEASE).write_text("filelock/2\npid=1\nhost=elsewhere\nmode=exclusive\n")
    then = time.time() - 2 * held.LEASE_SECONDS
    os.utime(run.path / held.LEASE, (then, then))


def test_each_state_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first, *_ = write_study(tmp_path)
    names = ["wait", "queue", "run", "fail", "lost"]
    specs = {name: spec_of("pgs", 10 + n) for n, name in enumerate(names)}
    _, queued, at_work, failed, lost = enter(tmp_path / "runs/tiny", *specs.values())
    queued.give_to(Job("7", str(tmp_path / "jobs/7")))
    failed.fail(Failure("out of memory", "failure.txt"))
    at_work.append_metrics({"step": 2, "seconds": 4.0})
    lose(lost)
    monkeypatch.setattr(slurm, "known_jobs", lambda: {"7"})
    with at_work.claim():
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


def test_a_job_that_vanished_is_a_failed_run_with_the_end_of_its_output(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_study(tmp_path)
    (run,) = enter(tmp_path / "runs/tiny", spec_of("pgs", 10))
    (tmp_path / "jobs").mkdir()
    (tmp_path / "jobs/7_0_log.out").write_text("slurmstepd: oom-kill\n")
    run.give_to(Job("7", str(tmp_path / "jobs")))
    for known, age, expected in ((set(), 0, "queued"), (None, 60, "queued"), (set(), 60, "failed")):
        monkeypatch.setattr(slurm, "known_jobs", lambda known=known: known)
        then = time.time() - age
        os.utime(run.path / files.JOB, (then, then))
        assert by_name(tmp_path)[spec_of("pgs", 10).name].state == expected
    assert "slurmstepd: oom-kill" in by_name(tmp_path)[spec_of("pgs", 10).name].why


def test_what_has_ended_is_not_lost_with_its_process(tmp_path: Path) -> None:
    done, failed, pruned, other = (run for run in write_study(tmp_path))
    record = StudyRecord.read(tmp_path / "runs/tiny")
    search = SearchConfig.model_validate({"space": {"strategy.mask_ratio": [0.5]}, "pruner": "median"})
    during = DuringConfig(tasks=["a"])
    evaluation = record.config.evaluation.model_copy(update={"during": during})
    changed = record.config.model_copy(update={"search": search, "evaluation": evaluation})
    replace(record, config=changed).write(tmp_path / "runs/tiny")
    for run in (failed, pruned, other):
        (run.path / files.DONE).unlink()
    failed.fail(Failure("out of memory"))
    pruned.prune(PrunedMark(pruned.spec.study, "median", "it looked bad", 1, 1.0))
    for run in (done, failed, pruned, other):  # its process was killed before it could give the lease back
        lose(run)
    found = by_name(tmp_path)
    states = [found[run.spec.name].state for run in (done, failed, pruned)]
    assert states == ["done", "failed", "pruned"]
    assert found[pruned.spec.name].why == "it looked bad"
    assert state(other) == "lost"


def test_a_study_is_watched_until_all_has_ended_and_nobody_drives_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_study(tmp_path)
    assert len(list(running.watch("tiny", output=tmp_path, seconds=0.0))) == 1
    looks = 0
    with held.hold(tmp_path / "runs/tiny"):
        for _ in running.watch("tiny", output=tmp_path, seconds=0.0):
            looks += 1
            if looks == 3:
                break
    assert looks == 3
