"""`pgsbench evaluate` of several checkpoints: one table across, differences, JSON."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tinyworld import TinyWorld

from pgsbench.cli import main
from pgsbench.models import checkpoint, clip


@pytest.fixture
def models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    monkeypatch.setenv("PGSBENCH_DATA", str(tmp_path / "data"))
    monkeypatch.chdir(tmp_path)
    for seed in (0, 1):
        checkpoint.save(clip.build("tiny-vit", seed=seed), tmp_path / f"model-{seed}")
    return ["model-0", "model-1"]


def evaluate(monkeypatch: pytest.MonkeyPatch, *words: str) -> int:
    monkeypatch.setattr("sys.argv", ["pgsbench", "evaluate", *words])
    try:
        main()
    except SystemExit as end:
        return int(end.code or 0)
    return 0


def test_several_checkpoints_stand_in_one_table_with_their_differences(
    models: list[str],
    tiny: TinyWorld,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    words = (*models, "--suite", str(tiny.suite), "--batch-size", "8")
    assert evaluate(monkeypatch, *words) == 0
    out = capsys.readouterr().out
    header = next(line for line in out.splitlines() if line.startswith("group or task"))
    assert header.split()[-2:] == models
    assert "model-1 − model-0" in out
    assert "These models only" in out
    for model in models:
        assert f"{model}/eval-tiny/scores.json" in out

    assert evaluate(monkeypatch, *words, "--json") == 0
    tables = json.loads(capsys.readouterr().out)
    assert [row["group or task"] for row in tables["Suite tiny"]][:2] == ["classification", "retrieval"]
    assert {row["difference"] for row in tables["Differences"]} == {"model-1 − model-0"}
