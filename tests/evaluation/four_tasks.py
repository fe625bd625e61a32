"""A suite of four small tasks over copies of the test data, and its evaluation."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from pgsbench.evaluation.evaluate import evaluate
from pgsbench.evaluation.suite import load_suite
from pgsbench.models.clip import Clip
from pgsbench.records.scores import Scores


def write(data: Path, folder: Path) -> Path:
    """Write the suite and what it needs below `folder`, where tests may change them."""
    shutil.copytree(data, folder / "data")
    path = folder / "mine.yaml"
    path.write_text("""
name: mine
tasks:
  - {name: my/six, data: data/classes, protocol: zero_shot, group: a}
  - {name: my/two, data: data/two, protocol: zero_shot, group: a, metric: mean_per_class_recall}
  - {name: my/find, data: data/retrieval, protocol: retrieval, group: b}
  - {name: my/swap, data: data/pairs, protocol: compositional, group: c, subset: swap_att}
""")
    return path


def run(tiny: Clip, suite: Path, **more: Any) -> Scores:
    given = {"checkpoint_sha256": "abc", "out": suite.parent / "out", "batch_size": 16} | more
    return evaluate(tiny, load_suite(suite), **given)
