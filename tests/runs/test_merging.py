"""Run directories of several machines come together; what disagrees is named and nothing is moved."""

from __future__ import annotations

import json
import shutil
import tarfile
from pathlib import Path

import numpy as np
import pytest
from written import spec_of, write_run, write_study

from pgsbench.archive.bundles import bundle
from pgsbench.archive.merging import merge
from pgsbench.errors import RunError, StudyError
from pgsbench.execution.status import statuses
from pgsbench.records.marks import Marks, PrunedMark
from pgsbench.records.study_record import StudyRecord
from pgsbench.reporting.study_frames import read_frames
from pgsbench.tracking.rundir import RunDir, all_runs

DAY = "2026-01-01T10:00:00+00:00"


def test_runs_of_two_machines_come_together(tmp_path: Path) -> None:
    write_study(tmp_path / "one")
    write_study(tmp_path / "other")
    for half, arm in (("one", "pgs"), ("other", "flip")):
        for path in (tmp_path / half / "runs/tiny").glob(f"{arm}-*"):
            shutil.rmtree(path)
    done = merge([tmp_path / "one", tmp_path / "other/runs"], output=tmp_path / "here")
    assert (len(done.copied), done.known, done.studies) == (4, (), ("tiny",))
    found = read_frames(tmp_path / "here/runs/tiny")
    assert [run.status for run in found.runs] == ["complete"] * 4
    again = merge([tmp_path / "one"], output=tmp_path / "here")
    assert (len(again.copied), len(again.known)) == (0, 2)


def test_a_complete_run_takes_the_place_of_an_incomplete_one_and_never_the_other_way(tmp_path: Path) -> None:
    spec = spec_of("pgs", 0)
    write_run(tmp_path / "done/runs", spec, 0.5, started=DAY)
    write_run(tmp_path / "half/runs", spec, 0.5, started=DAY, done=False)
    assert merge([tmp_path / "half"], output=tmp_path / "here").incomplete == (spec.folder,)
    assert not (tmp_path / "here/runs").exists()
    assert merge([tmp_path / "done"], output=tmp_path / "half").copied == (spec.folder,)
    (run,) = all_runs(tmp_path / "half/runs")
    assert run.is_done
    assert not list(run.path.glob(".lease*"))


def test_equal_ids_with_other_content_are_named_and_nothing_moves(tmp_path: Path) -> None:
    specs = [spec_of("pgs", seed) for seed in (0, 1)]
    write_run(tmp_path / "here/runs", specs[0], 0.5, started=DAY)
    write_run(tmp_path / "there/runs", specs[0], 0.7, started=DAY)
    write_run(tmp_path / "there/runs", specs[1], 0.7, started=DAY)
    with pytest.raises(StudyError, match=f"(?s)other content.*{specs[0].id}: the scores of"):
        merge([tmp_path / "there"], output=tmp_path / "here")
    assert len(all_runs(tmp_path / "here/runs")) == 1


def test_what_steps_took_comes_along(tmp_path: Path) -> None:
    for place in ("here", "there"):
        write_study(tmp_path / place)
    times = tmp_path / "there/runs/tiny/times"
    times.mkdir()
    (times / "a.json").write_text("{}")
    merge([tmp_path / "there"], output=tmp_path / "here")
    assert (tmp_path / "here/runs/tiny/times/a.json").read_text() == "{}"


def test_a_run_that_is_planned_otherwise_is_named(tmp_path: Path) -> None:
    write_study(tmp_path / "here")
    write_study(tmp_path / "there")
    (planned, *_) = sorted((tmp_path / "there/runs/tiny/planned").iterdir())
    planned.write_text(planned.read_text().replace("a1b2c3d4", "ffffffff"))
    with pytest.raises(StudyError, match="is planned otherwise"):
        merge([tmp_path / "there"], output=tmp_path / "here")


def test_a_folder_without_runs_is_a_mistake(tmp_path: Path) -> None:
    with pytest.raises(StudyError, match="no runs are here"):
        merge([tmp_path], output=tmp_path / "here")


def test_runs_of_a_bundle_are_reported_with_those_here(tmp_path: Path) -> None:
    write_study(tmp_path / "theirs")
    bundle("tiny", tmp_path / "theirs.tar.gz", output=tmp_path / "theirs")
    done = merge([tmp_path / "theirs.tar.gz"], output=tmp_path / "here")
    assert (len(done.copied), done.studies) == (4, ("tiny",))
    assert [run.status for run in read_frames(tmp_path / "here/runs/tiny").runs] == ["complete"] * 4
    for run in all_runs(tmp_path / "theirs/runs"):
        run.checkpoint.mkdir(parents=True)
        (run.checkpoint / "model.safetensors").write_bytes(b"weights, which the bundle leaves out")
    known = merge([tmp_path / "theirs.tar.gz"], output=tmp_path / "theirs").known
    assert len(known) == 4


def test_nothing_of_a_damaged_bundle_is_taken(tmp_path: Path) -> None:
    write_study(tmp_path / "theirs")
    bundle("tiny", tmp_path / "theirs.tar.gz", output=tmp_path / "theirs")
    with tarfile.open(tmp_path / "theirs.tar.gz") as archive:
        archive.extractall(tmp_path / "open", filter="data")
    scores = next((tmp_path / "open/runs").rglob("scores.json"))
    scores.write_text(scores.read_text().replace("0.", "1.", 1))
    with tarfile.open(tmp_path / "changed.tar.gz", "w:gz") as archive:
        archive.add(tmp_path / "open", ".")
    with pytest.raises(
        StudyError, match=r"(?s)bundle is damaged.*scores\.json: not the file that was bundled"
    ):
        merge([tmp_path / "changed.tar.gz"], output=tmp_path / "here")
    assert not (tmp_path / "here").exists()


def test_marks_and_leases_stay_behind(tmp_path: Path) -> None:
    (first, *_) = write_study(tmp_path / "there")
    with RunDir(first.path).claim():
        merge([tmp_path / "there"], output=tmp_path / "here")
    assert not list((tmp_path / "here").rglob(".*"))
    assert len(StudyRecord.read(tmp_path / "here/runs/tiny").runs) == 4


def test_intervals_and_outcomes_are_compared_too(tmp_path: Path) -> None:
    spec = spec_of("pgs", 0)
    write_run(tmp_path / "here/runs", spec, 0.5, started=DAY)
    theirs = write_run(tmp_path / "there/runs", spec, 0.5, started=DAY)
    written = (theirs.path / "scores.json").read_text()
    scores = json.loads(written)
    scores["groups"]["retrieval"]["low"] = 0.2
    (theirs.path / "scores.json").write_text(json.dumps(scores))
    with pytest.raises(StudyError, match=f"{spec.id}: the intervals of"):
        merge([tmp_path / "there"], output=tmp_path / "here")
    (theirs.path / "scores.json").write_text(written)
    outcomes = theirs.path / "outcomes/tiny__colour.acc1.npz"
    with np.load(outcomes) as arrays:
        found = dict(arrays)
    np.savez_compressed(outcomes, **found | {"key": np.asarray("of another version")})
    assert len(merge([tmp_path / "there"], output=tmp_path / "here").known) == 1
    np.savez(outcomes, **found | {"values": found["values"][::-1]})
    with pytest.raises(StudyError, match=f"{spec.id}: the outcomes of"):
        merge([tmp_path / "there"], output=tmp_path / "here")


def test_a_pruned_point_stays_pruned(tmp_path: Path) -> None:
    search = {"space": {"strategy.mask_ratio": [0.5, 0.75]}, "pruner": "median", "probe": {"tasks": ["tiny"]}}
    first, *_ = write_study(tmp_path / "there", search=search)
    (first.path / "DONE").unlink()
    (first.path / "probes/0.5-x").mkdir(parents=True)
    (first.path / "probes/0.5-x/scores.json").write_text("{}")
    Marks(tmp_path / "there/runs/tiny").prune(first.spec.id, PrunedMark("median", "below", 2, 1.0))
    done = merge([tmp_path / "there"], output=tmp_path / "here")
    assert (len(done.copied), done.incomplete) == (2, ())
    assert [run.state for run in statuses(tmp_path / "here/runs/tiny")] == ["pruned", "done"]
    assert (tmp_path / "here/runs" / first.spec.folder / "probes/0.5-x/scores.json").is_file()
    again = merge([tmp_path / "there"], output=tmp_path / "here")
    assert (len(again.copied), len(again.known), len(again.incomplete)) == (0, 1, 1)
    bundle("tiny", tmp_path / "there.tar.gz", output=tmp_path / "there")
    merge([tmp_path / "there.tar.gz"], output=tmp_path / "bare")
    assert [run.state for run in statuses(tmp_path / "bare/runs/tiny")] == ["pruned", "done"]


def test_a_run_that_is_worked_on_is_told_before_anything_is_copied(tmp_path: Path) -> None:
    specs = [spec_of("pgs", seed) for seed in (0, 1, 2)]
    for spec in specs:
        write_run(tmp_path / "there/runs", spec, 0.7, started=DAY)
    held = max(specs, key=lambda spec: spec.folder)
    ours = write_run(tmp_path / "here/runs", held, 0.7, started=DAY, done=False)
    with ours.claim(), pytest.raises(RunError, match="a process works on this run"):
        merge([tmp_path / "there"], output=tmp_path / "here")
    assert [path.name for path in (tmp_path / "here/runs/tiny").iterdir()] == [ours.path.name]


def test_a_copy_that_fails_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_run(tmp_path / "there/runs", spec_of("pgs", 0), 0.7, started=DAY)

    def full(_: Path, place: Path, **__: object) -> None:
        place.mkdir()
        raise OSError("no space left on device")

    monkeypatch.setattr(shutil, "copytree", full)
    with pytest.raises(OSError, match="no space left"):
        merge([tmp_path / "there"], output=tmp_path / "here")
    assert not list((tmp_path / "here/runs/tiny").iterdir())
