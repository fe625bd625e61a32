"""`pgsbench evaluate` of several checkpoints: one table across, differences, JSON."""

from __future__ import annotations

import json
from pathlib import Path

from commands import pgsbench
from tinyworld import TinyWorld

from pgsbench.models import checkpoint, clip


def test_several_checkpoints_stand_in_one_table_with_their_differences(
    tiny: TinyWorld, tmp_path: Path
) -> None:
    models = ["model-0", "model-1"]
    for seed, name in enumerate(models):
        checkpoint.save(clip.build("tiny-vit", seed=seed), tmp_path / name)
    words = ("evaluate", *models, "--suite", str(tiny.suite), "--batch-size", "8")
    out = pgsbench(tmp_path, *words).stdout
    header = next(line for line in out.splitlines() if line.startswith("group or task"))
    assert header.split()[-2:] == models
    assert "model-1 − model-0" in out
    assert "These models only" in out
    for model in models:
        assert f"{model}/eval-tiny/scores.json" in out
    tables = json.loads(pgsbench(tmp_path, *words, "--json").stdout)
    assert [row["group or task"] for row in tables["Suite tiny"]][:2] == ["classification", "retrieval"]
    assert {row["difference"] for row in tables["Differences"]} == {"model-1 − model-0"}
