"""What MLflow is told: names it accepts, curves it can draw, texts a person can read."""

from __future__ import annotations

from pathlib import Path
from statistics import fmean

import pytest
from made_scores import scores_of
from made_study import (
    fake_line,
    fake_score,
    fake_summary,
    spec_of,
    write_fake_study,
)

from pgsbench.records.scores import GroupMean
from pgsbench.records.study_record import StudyRecord
from pgsbench.tracking.mlflow_text import (
    CURVES,
    MAX_KEYS,
    MAX_POINTS,
    run_metrics,
    study_metrics,
    thin,
    valid_name,
)
from pgsbench.tracking.rundir import RunDir


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("score/shape_acc1", "score/shape_acc1"),
        ("recall@5 [%]", "recall_5 ___"),
        ("//score//../a", "score/a"),
        ("grö(ß)e", "gr___e"),
        ("", "_"),
    ],
)
def test_names_are_made_valid(given: str, expected: str) -> None:
    from mlflow.utils.validation import _validate_metric_name

    assert valid_name(given).replace("__", "_") == expected.replace("__", "_")
    _validate_metric_name(valid_name(given))


def test_curves_are_thinned_alike_while_they_grow() -> None:
    lines = [fake_line(step) for step in range(1, 1001)]
    total = lines[-1]["samples"]
    whole = thin(lines, total, done=True)
    assert len(whole) <= MAX_POINTS + 1
    assert whole[-1]["step"] == 1000
    for length in (1, 7, 500, 999):
        part = thin(lines[:length], total, done=False)
        assert part == whole[: len(part)]


def test_metrics_stay_within_the_limit_and_groups_come_first(tmp_path: Path) -> None:
    scores = [fake_score(f"set/{number}", "g", "acc1", 0.5, primary=number % 2 == 0) for number in range(300)]
    mean = GroupMean(0.6499999761581421, 0.6, 0.7, n_tasks=150, chance=0.1)
    run = RunDir.create(tmp_path, spec_of())
    scores_of(scores, {"classification": mean}).write(run.path)
    run.write_summary(fake_summary())
    found = run_metrics(run, run.scores)
    assert len(found) == MAX_KEYS - len(CURVES)
    assert "summary/eval_seconds" not in found  # it is not known yet
    names = [name for name in found if name.startswith("score/")]
    assert names[:3] == ["score/mean", "score/classification", "score/set/0_acc1"]
    assert found["score/classification"] == 65
    assert "score/set/1_acc1" not in found


def test_arm_means_count_only_what_is_done(tmp_path: Path) -> None:
    folder = write_fake_study(tmp_path, steps=1, num_seeds=2)
    (next(folder.glob("pgs-s1-*")) / "DONE").unlink()
    for path in folder.glob("flip-0.5-*"):
        (path / "DONE").unlink()
    record = StudyRecord.read(folder)
    runs = {run.directory: RunDir(folder.parent / run.directory) for run in record.runs}
    first = next(run for run in runs.values() if run.spec.name == "pgs s0")
    assert first.scores is not None
    pgs = 100 * fmean(group.value for group in first.scores.groups.values())
    found = study_metrics(record, runs)  # pgs has a gain of a point over none, and seed 1 half of one on top
    assert found == {"score/pgs": pytest.approx(pgs), "score/none": pytest.approx(pgs - 1 + 0.5)}
