"""A run that two studies share, each with a suite of its own: what shows one study shows its own scores."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from made_study import Seen, fake_scores, write_fake_study, write_verdict

from pgsbench.records.study_record import StudyRecord
from pgsbench.records.verdict_record import VerdictRecord
from pgsbench.tracking.mirror import Mirror
from pgsbench.tracking.rundir import RunDir

OWN = fake_scores().suite_fingerprint


@pytest.fixture
def shared(tmp_path: Path) -> Path:
    """Return a study whose runs another one has tested since: what scores high here scores low there."""
    folder = write_fake_study(tmp_path, steps=1, num_seeds=2)
    plan_suite(folder, OWN)
    for planned in StudyRecord.read(folder).runs:
        run = RunDir(folder.parent / planned.directory)
        scores = run.scores
        assert scores is not None
        turned = {
            name: replace(group, value=1 - group.value, low=0.0, high=1.0)
            for name, group in scores.groups.items()
        }
        replace(scores, suite="halves", suite_fingerprint="of another study", groups=turned).write(run.path)
    return folder


def plan_suite(folder: Path, fingerprint: str) -> None:
    record = StudyRecord.read(folder)
    planned = tuple(replace(run, suite_fingerprint=fingerprint) for run in record.runs)
    replace(record, runs=planned).write(folder)


def test_the_mirror_has_the_scores_of_the_report(
    shared: Path, tmp_path: Path, new_store: Callable[[str], str]
) -> None:
    uri, labels = new_store("store"), ["none", "flip-0.5", "pgs"]
    report = write_verdict(tmp_path / "report", labels)
    verdict = VerdictRecord.read(report)
    assert verdict is not None
    replace(verdict, scores={"pgs": verdict.scores["pgs"]}).write(report)
    mirror = Mirror(uri)
    assert mirror.sync_study(shared, report_folder=report).problem == ""
    seen = Seen(uri)
    assert seen.runs["pgs s1"].data.metrics["score/classification"] == pytest.approx(65)
    seeds = [seen.runs[f"pgs s{seed}"].data.metrics["score/mean"] for seed in (0, 1)]
    assert seen.runs["ratio"].data.metrics["score/pgs"] == pytest.approx(sum(seeds) / 2, abs=1e-3)
    (version,) = seen.client.search_model_versions("name = 'pgsbench-ratio'")
    assert version.run_id == seen.runs["pgs s1"].info.run_id  # there, seed 0 is the better one

    plan_suite(shared, "of another study")
    assert mirror.sync_study(shared).problem == ""
    assert Seen(uri).runs["pgs s1"].data.metrics["score/classification"] == pytest.approx(35)
