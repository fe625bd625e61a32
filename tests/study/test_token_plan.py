"""What a plan says of tokens and operations is what a run then counts."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from tinyworld import TinyWorld

from pgsbench.execution.estimate import cost_of
from pgsbench.experiment import run_once
from pgsbench.study.open import open_study_file
from pgsbench.study.plan import Planner

SHORT = "text={{strategy: {}, keep: 5}}"


@pytest.mark.parametrize(
    "changes",
    [
        ["strategy=none"],
        ["strategy=flip"],
        ["strategy=resize"],
        ["strategy=tome"],
        ["strategy=attentive"],
        ["strategy={name: cluster, mask_ratio: 0.3}"],
        ["strategy={name: flip, views: 2}"],
        ["strategy={name: pgs, views: 2, merge: nearest}"],
        ["strategy={name: grid, mask_ratio: 0.6}", "model.image_size=40"],  # a grid of odd sides
        ["strategy=tome", "model.image_size=40"],
        ["strategy=flip", SHORT.format("truncate")],
        ["strategy=flip", SHORT.format("frequency")],
    ],
    ids=" ".join,
)
def test_every_way_costs_what_its_plan_says(tiny: TinyWorld, tmp_path: Path, changes: list[str]) -> None:
    overrides = ["search=null", "arms={}", "training.unmasked_tuning.share=0.34", *changes]
    study = open_study_file(tiny.study, overrides=overrides)
    spec = Planner(study).spec(study.config.base_arm, 0, {})
    cost = cost_of(spec.config)
    summary = run_once(spec, runs_root=tmp_path, device=torch.device("cpu")).summary
    assert summary is not None
    assert cost.patch_tokens == pytest.approx(summary.visual_tokens)
    assert cost.text_tokens == summary.text_tokens
    assert cost.flops == summary.flops
    assert cost.flops is not None
