"""Masks made visible: preview and diagnose as a user types them, on the tiny world."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest
from commands import pgsbench
from tinyworld import TinyWorld

from pgsbench.inspection.inspected import arms_of_study
from pgsbench.records.study_record import StudyRecord

STRATEGIES = """
from dataclasses import dataclass
import torch
from pgsbench.masking.base import Selection, keep_all

@dataclass(frozen=True)
class Undeclared:
    mask_ratio: float = 0.5
    needs = frozenset()
    def select(self, view, *, draws):
        view.images.mean()
        return keep_all(view)

@dataclass(frozen=True)
class Descending:
    mask_ratio: float = 0.5
    needs = frozenset()
    def select(self, view, *, draws):
        return Selection(keep_all(view).keep.flip(1))
"""


def run(folder: Path, *words: str) -> str:
    done = pgsbench(folder, *words)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_diagnosing_a_study_leaves_files_and_an_entry_in_the_tracker(
    tiny: TinyWorld, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    out = run(tmp_path, "masks", "diagnose", str(tiny.study), "--batches", "2", "--output", "all")
    assert "Masks on tiny" in out
    assert "2 batches of 16 pictures, 4 x 4 patches, 2 seeds" in out
    for arm in ("pgs", "flip", "none", "oracle"):
        assert f"\n{arm} " in out
    table = pd.read_csv(tmp_path / "all/reports/tiny/masks/masks.csv", index_col="strategy")
    assert table.loc["flip", "effective_ratio"] == 0.5
    assert {path.name for path in (tmp_path / "mlruns").rglob("report/masks/*")} == {"masks.csv"}
    assert StudyRecord.read(tmp_path / "all/runs/tiny").runs == ()
    assert (
        run(tmp_path, "report", "--output", "all") == ""
    )  # there is nothing to report of a study without runs


def test_a_preview_leaves_out_those_arms_of_a_study_that_it_cannot_show(
    tiny: TinyWorld, tmp_path: Path
) -> None:
    text = tiny.study.read_text().replace("arms: {", "arms: {slow: {strategy: attentive}, ")
    (tmp_path / "with.yaml").write_text(text)
    out = run(tmp_path, "masks", "preview", "with.yaml", "--count", "1", "--to", "arms.png")
    assert out.splitlines() == ["arms.png", "Left out: slow; it needs the attention of a teacher."]
    asked = ("masks", "preview", "with.yaml", "--strategies", "pgs,slow")
    done = pgsbench(tmp_path, *asked)
    assert done.returncode == 2
    assert "--strategies: a preview cannot show this" in done.stderr


def test_a_mask_ratio_goes_to_every_arm_that_has_one(tiny: TinyWorld, tmp_path: Path) -> None:
    (tmp_path / "own.yaml").write_text(
        tiny.study.read_text()
        .replace("{name: pgs, mask_ratio: 0.5}", "none")
        .replace("flip: {strategy: flip}", "flip: {strategy: {name: flip, mask_ratio: 0.75}}")
        .replace("search:", "#")
    )
    found = arms_of_study(str(tmp_path / "own.yaml"), None, mask_ratio=0.25).strategies
    assert {name: strategy.mask_ratio for name, strategy in found.items()} == {
        "none": 0.0,
        "flip": 0.25,
        "oracle": 0.25,
    }


@pytest.mark.parametrize(
    ("name", "said", "words"),
    [
        ("Undeclared", "`select` seems to read what `needs` does not name", "masks preview --data {shards}"),
        ("Descending", "each row of `keep` must hold indices", "masks diagnose {shards}"),
    ],
)
def test_a_bad_strategy_is_named_wherever_it_is_used(
    tiny: TinyWorld, tmp_path: Path, words: str, name: str, said: str
) -> None:
    (tmp_path / "bad.py").write_text(STRATEGIES)
    line = f"{words.format(shards=tiny.shards)} --model tiny-vit --strategies bad.py:{name}"
    done = pgsbench(tmp_path, *line.split())
    assert f"strategy {name}: {said}" in done.stderr
    assert done.returncode == 2


def test_tables_are_printed_as_json_alone(tiny: TinyWorld, tmp_path: Path) -> None:
    images, texts = json.loads(run(tmp_path, "masks", "ls", "--json")).values()
    assert {"none", "pgs", "cluster"} <= {row["name"] for row in images}
    assert {"none", "truncate", "frequency"} <= {row["name"] for row in texts}
    assert all(row["paper"] and row["what it does"] for row in texts)
    words = ("masks", "diagnose", str(tiny.shards), "--model", "tiny-vit", "--batches", "1", "--json")
    found = json.loads(run(tmp_path, *words, "--strategies", "random,cluster"))
    assert list(found) == ["Masks on train"]
    assert found["Masks on train"][0]["effective ratio"] == 50
