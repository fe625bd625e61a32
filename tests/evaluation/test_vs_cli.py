"""Our numbers against clip_benchmark's command line, run as a subprocess on the same checkpoint."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks import reference
from pgsbench.evaluation.evaluate import evaluate
from pgsbench.evaluation.suite import load_suite
from pgsbench.models import checkpoint
from pgsbench.models.clip import Clip

pytestmark = pytest.mark.slow


def test_scores_equal_clip_benchmarks_command_line(tiny: Clip, data: Path, tmp_path: Path) -> None:
    model = tmp_path / "model"
    digest = checkpoint.save(tiny, model)
    suite = tmp_path / "mine.yaml"
    suite.write_text(f"""
name: mine
tasks:
  - {{name: six, data: {data}/classes, protocol: zero_shot, group: a}}
  - {{name: find, data: {data}/retrieval, protocol: retrieval, group: b}}
  - {{name: swap, data: {data}/pairs, protocol: compositional, group: c, subset: swap_att}}
""")
    tasks = load_suite(suite)
    theirs = {
        task.name: reference.run(
            task, Path(task.data), model=f"local-dir:{model}", pretrained="", batch_size=32, workers=0
        ).metrics
        for task in tasks.tasks
    }
    loaded = checkpoint.load(model)
    report = evaluate(loaded, tasks, out=tmp_path, checkpoint_sha256=digest)

    for score in report.scores:
        assert score.value == pytest.approx(theirs[score.task][score.metric], abs=1e-6), score
    assert len(report.scores) == 3 + 6 + 1
