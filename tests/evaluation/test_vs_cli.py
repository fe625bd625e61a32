"""Our numbers against clip_benchmark's command line, run as a subprocess on the same checkpoint."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from pgsbench.evaluation.evaluate import evaluate
from pgsbench.evaluation.suite import load_suite
from pgsbench.models import checkpoint, clip
from pgsbench.models.clip import Clip

pytestmark = pytest.mark.slow

# On numpy >= 2.4 clip_benchmark's accuracy() raises TypeError when all the work is done, because it takes
# the float of an array of one element. The command line is run with that line mended and nothing else.
COMMAND_LINE = """
from clip_benchmark.metrics import zeroshot_classification

def accuracy(output, target, topk=(1,)):
    pred = output.topk(max(topk), 1, True, True)[1].t()
    correct = pred.eq(target.view(1, -1).expand_as(pred))
    return [float(correct[:k].reshape(-1).float().sum()) / len(target) for k in topk]

zeroshot_classification.accuracy = accuracy
from clip_benchmark.cli import main
main()
"""


def command_line(
    model: Path, output: Path, dataset: str, root: Path, task: str, *more: str
) -> dict[str, float]:
    arguments = [
        "eval", "--model", f"local-dir:{model}", "--pretrained", "", "--dataset", dataset,
        "--dataset_root", str(root), "--task", task, "--output", str(output), "--no_amp",
        "--num_workers", "0", "--batch_size", "32", "--quiet", *more,
    ]  # fmt: skip
    subprocess.run(
        [sys.executable, "-c", COMMAND_LINE, *arguments],
        check=True, capture_output=True, env={**os.environ, "HF_HUB_OFFLINE": "1"},
    )  # fmt: skip
    metrics: dict[str, float] = json.loads(output.read_text())["metrics"]
    return metrics


def test_scores_equal_clip_benchmarks_command_line(tiny: Clip, data: Path, tmp_path: Path) -> None:
    model = tmp_path / "model"
    digest = checkpoint.save(tiny, model)
    six = (model, tmp_path / "1", "wds/six", data / "classes", "zeroshot_classification")
    find = (model, tmp_path / "2", "wds/find", data / "retrieval", "zeroshot_retrieval")
    swap = (model, tmp_path / "3", "sugar_crepe/swap_att", data / "pairs", "image_caption_selection")
    theirs = {
        "six": command_line(*six),
        "find": command_line(*find, "--recall_k", "1", "5", "10"),
        "swap": command_line(*swap),
    }

    suite = tmp_path / "mine.yaml"
    suite.write_text(f"""
name: mine
tasks:
  - {{name: six, data: {data}/classes, protocol: zero_shot, group: a}}
  - {{name: find, data: {data}/retrieval, protocol: retrieval, group: b}}
  - {{name: swap, data: {data}/pairs, protocol: compositional, group: c, subset: swap_att}}
""")
    loaded = clip.load(model)
    report = evaluate(
        loaded.model, tokenizer=loaded.tokenize, preprocess=loaded.preprocess_cfg,
        suite=load_suite(suite), out=tmp_path, checkpoint_sha256=digest,
    )  # fmt: skip

    for score in report.scores:
        name = score.metric.replace("_recall_at_", "_retrieval_recall@")
        assert score.value == pytest.approx(theirs[score.task][name], abs=1e-6), (score.task, score.metric)
    assert len(report.scores) == 3 + 6 + 1
