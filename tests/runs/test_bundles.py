"""A bundle says what a study measured, and whoever has it can tell whether that is so."""

from __future__ import annotations

import json
import shutil
import tarfile
from pathlib import Path

import numpy as np
import pytest
from written import write_study

from pgsbench.archive import bundles
from pgsbench.archive.bundles import CONTENTS, bundle, verify
from pgsbench.errors import StudyError
from pgsbench.hashing import file_hash
from pgsbench.reporting.study_frames import StudyFrames, read_frames


@pytest.fixture(scope="module")
def bundled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bundled")
    write_study(folder)
    done = bundle("tiny", folder / "tiny.tar.gz", output=folder)
    assert (done.study, done.num_runs) == ("tiny", 4)
    return folder / "tiny.tar.gz"


def changed(bundled: Path, tmp_path: Path, name: str, change: str, *, hide: bool) -> Path:
    """Return the bundle with a file changed; hidden: its hash, too."""
    with tarfile.open(bundled) as archive:
        archive.extractall(tmp_path / "open", filter="data")
    (path,) = (tmp_path / "open").glob(name)
    if path.suffix == ".npz":
        with np.load(path) as arrays:
            np.savez(path, **{**arrays, **{name: 1 - arrays[name] for name in ("values", "correct")}})
    else:
        text = path.read_text()
        assert change in text
        path.write_text(text.replace(change, "0.123456", 1))
    if hide:
        contents = json.loads((tmp_path / "open" / CONTENTS).read_text())
        contents[path.relative_to(tmp_path / "open").as_posix()] = file_hash(path)
        (tmp_path / "open" / CONTENTS).write_text(json.dumps(contents))
    with tarfile.open(tmp_path / "changed.tar.gz", "w:gz") as archive:
        archive.add(tmp_path / "open", ".")
    return tmp_path / "changed.tar.gz"


def test_every_number_follows_from_the_outcomes(bundled: Path, tmp_path: Path) -> None:
    found = verify(bundled, report=tmp_path / "report")
    assert found.problems == ()
    assert (found.num_runs, found.num_scores) == (4, 8)
    assert (tmp_path / "report/report.html").is_file()


@pytest.mark.parametrize("name", ["tiny.zip", "tiny", "tiny.tar"])
def test_a_bundle_bears_the_name_of_what_it_is(bundled: Path, name: str, tmp_path: Path) -> None:
    with pytest.raises(StudyError, match=r"(?s)packed by gzip.*NAME\.tar\.gz"):
        bundle("tiny", tmp_path / name, output=bundled.parent)
    assert not list(tmp_path.iterdir())


def test_two_bundles_of_a_study_are_equal_to_the_byte(bundled: Path, tmp_path: Path) -> None:
    again = bundle("tiny", tmp_path / "again.tar.gz", output=bundled.parent)
    assert file_hash(again.path) == file_hash(bundled)
    assert verify(bundled).sha256 == again.sha256


@pytest.mark.parametrize("hide", [False, True])
def test_an_outcome_that_was_changed_is_found(bundled: Path, tmp_path: Path, hide: bool) -> None:
    path = changed(bundled, tmp_path, "runs/tiny/pgs-s0-*/outcomes/tiny__colour.acc1.npz", "", hide=hide)
    problems = verify(path).problems
    assert any("tiny/colour/acc1 is 0.7" in problem for problem in problems)
    assert any("not the file that was bundled" in problem for problem in problems) != hide


def test_intervals_and_means_that_were_forged_are_found(bundled: Path, tmp_path: Path) -> None:
    shutil.copytree(bundled.parent / "runs", tmp_path / "runs")
    first, second, *_ = sorted((tmp_path / "runs/tiny").glob("*/scores.json"))
    scores = json.loads(first.read_text())
    scores["scores"][0] |= {"low": 0.0123, "high": 0.9876}
    first.write_text(json.dumps(scores))
    scores = json.loads(second.read_text())
    scores["groups"]["retrieval"]["value"] = 0.987
    scores["groups"]["classification"]["high"] = 0.99
    scores["scores"][1]["per_sample"] = ""
    second.write_text(json.dumps(scores))
    bundle("tiny", tmp_path / "forged.tar.gz", output=tmp_path)
    found = verify(tmp_path / "forged.tar.gz")
    assert [problem.split(":")[1].split(" 0.")[0].strip() for problem in found.problems] == [
        "tiny/colour/acc1 has the interval",
        "the mean of classification has the interval",
    ]
    assert (found.num_scores, found.num_unchecked) == (7, 1)


def test_scores_without_outcomes_are_counted(tmp_path: Path) -> None:
    for run in write_study(tmp_path):
        text = (run.path / "scores.json").read_text()
        (run.path / "scores.json").write_text(text.replace("outcomes/tiny__colour.acc1.npz", ""))
    bundle("tiny", tmp_path / "tiny.tar.gz", output=tmp_path)
    verdict = verify(tmp_path / "tiny.tar.gz").verdict
    assert verdict.endswith("follows from the outcomes; 4 scores without outcomes not checked")


def test_a_run_that_ends_while_the_report_is_written_is_not_in_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    *_, last = write_study(tmp_path)
    (last.path / "DONE").unlink()

    def ends_before(folder: Path) -> StudyFrames:
        last.mark_done()
        return read_frames(folder)

    monkeypatch.setattr(bundles, "read_frames", ends_before)
    assert bundle("tiny", tmp_path / "tiny.tar.gz", output=tmp_path).num_runs == 3
    assert verify(tmp_path / "tiny.tar.gz").problems == ()


def test_a_report_that_was_changed_is_found(bundled: Path, tmp_path: Path) -> None:
    path = changed(bundled, tmp_path, "reports/tiny/scores.csv", "0.7", hide=True)
    (problem,) = verify(path).problems
    assert "scores.csv: the outcomes give another one" in problem
    assert len(problem) < 250


def test_weights_are_taken_only_where_asked(bundled: Path, tmp_path: Path) -> None:
    shutil.copytree(bundled.parent / "runs", tmp_path / "runs")
    for run in (tmp_path / "runs/tiny").glob("*-s*"):
        (run / "checkpoints/model").mkdir(parents=True)
        (run / "checkpoints/model/open_clip_model.safetensors").write_bytes(b"weights")
    for weights in (False, True):
        path = tmp_path / f"{weights}.tar.gz"
        bundle("tiny", path, output=tmp_path, weights=weights)
        with tarfile.open(path) as archive:
            assert any(name.endswith(".safetensors") for name in archive.getnames()) == weights


def test_what_is_no_bundle_is_a_mistake(tmp_path: Path) -> None:
    (tmp_path / "no.tar.gz").write_text("no")
    with pytest.raises(StudyError, match="not a bundle"):
        verify(tmp_path / "no.tar.gz")
    with pytest.raises(StudyError, match="no such file"):
        verify(tmp_path / "gone.tar.gz")


def test_a_file_is_not_overwritten(bundled: Path) -> None:
    before = file_hash(bundled)
    with pytest.raises(StudyError, match="the file exists already"):
        bundle("tiny", bundled, output=bundled.parent)
    assert file_hash(bundled) == before
