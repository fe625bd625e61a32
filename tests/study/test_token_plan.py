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


@pytest.mark.parametrize(
    "strategy",
    [
        "none",
        "flip",
        "resize",
        "tome",
        "attentive",
        "{name: cluster, mask_ratio: 0.3}",
        "{name: flip, views: 2}",
        "{name: pgs, views: 2, merge: nearest}",
    ],
)
def test_every_way_costs_what_its_plan_says(tiny: TinyWorld, tmp_path: Path, strategy: str) -> None:
    plan_and_run(tiny, tmp_path, f"strategy={strategy}")


@pytest.mark.parametrize("strategy", ["{name: grid, mask_ratio: 0.6}", "tome"])
def test_a_grid_of_odd_sides_costs_what_its_plan_says(tiny: TinyWorld, tmp_path: Path, strategy: str) -> None:
    plan_and_run(tiny, tmp_path, f"strategy={strategy}", "model.image_size=40")


@pytest.mark.parametrize("text", ["truncate", "frequency"])
def test_shorter_captions_cost_what_their_plan_says(tiny: TinyWorld, tmp_path: Path, text: str) -> None:
    plan_and_run(tiny, tmp_path, "strategy=flip", f"text={{strategy: {text}, keep: 5}}")


def plan_and_run(tiny: TinyWorld, folder: Path, *changes: str) -> None:
    overrides = ["search=null", "arms={}", "training.unmasked_tuning.share=0.34", *changes]
    study = open_study_file(tiny.study, overrides=overrides)
    spec = Planner(study).spec(study.config.base_arm, 0, {})
    cost = cost_of(spec.config)
    summary = run_once(spec, runs_root=folder, device=torch.device("cpu")).summary
    assert summary is not None
    assert cost.patch_tokens == pytest.approx(summary.visual_tokens)
    assert cost.text_tokens == summary.text_tokens
    assert cost.flops == summary.flops
    assert cost.flops is not None
