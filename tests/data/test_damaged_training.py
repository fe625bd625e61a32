"""A training on shards with planted faults of eight kinds goes to its end and accounts for every sample."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace
from pathlib import Path

import faulty
import pytest
import torch
from tinyworld import TinyWorld

from pgsbench.data import damage
from pgsbench.data.tar import CUT
from pgsbench.errors import DataError
from pgsbench.experiment import run_once
from pgsbench.reporting.one_run import Run, run_tables
from pgsbench.study.open import open_study_file
from pgsbench.study.plan import Planner
from pgsbench.tracking.mlflow_text import run_metrics


def test_a_training_on_damaged_shards(tiny: TinyWorld, tmp_path: Path) -> None:
    planted = faulty.plant(tmp_path / "train")
    faulty.cut(tmp_path / "train" / "2.tar", 0.6)
    changed = [
        f"data.train={tmp_path}/train",
        "data.max_bad_share=0.5",
        "data.augment=open_clip",
        "data.workers=0",
        "training.samples=320",
        "search=null",
    ]
    (spec,) = Planner(open_study_file(tiny.study, overrides=changed)).specs(["flip"])
    run = run_once(spec, runs_root=tmp_path / "runs", device=torch.device("cpu"))
    found = run.summary.bad_samples
    assert set(found) == {*planted, CUT}
    kept = [json.loads(line) for line in (run.path / "damage.jsonl").read_text().splitlines()]
    assert found == Counter(reason for _, reason, _ in kept)
    assert run_metrics(run, None)["summary/bad_samples.no caption"] == found[damage.NO_CAPTION]
    assert any(
        row == ["bad_samples.no caption", str(found[damage.NO_CAPTION])]
        for table in run_tables(Run(run))
        for row in table.cells()
    )

    for share, is_told in ((0.04, False), (0.5, True)):
        run.write_summary(replace(run.summary, wait_share=share))
        notes = [note for table in run_tables(Run(run)) for note in table.notes]
        assert any("waited for data 50% of the time: raise data.workers" in note for note in notes) == is_told

    changed[1] = "data.max_bad_share=0.02"
    (strict,) = Planner(open_study_file(tiny.study, overrides=changed)).specs(["flip"])
    assert strict.id == spec.id
    with pytest.raises(DataError, match=r"samples cannot be used, more than data.max_bad_share allows"):
        run_once(strict, runs_root=tmp_path / "others", device=torch.device("cpu"))
