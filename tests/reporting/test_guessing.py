"""A training that has learnt nothing, or has exploded, is told; one that learns is not."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from fabricated import ARMS
from open_clip.loss import ClipLoss, SigLipLoss

from pgsbench.config.training import TrainingConfig
from pgsbench.reporting.badges import badges, guessing
from pgsbench.reporting.findings import Findings
from pgsbench.reporting.results import Results
from pgsbench.reporting.study_frames import read_frames
from pgsbench.tracking.rundir import RunDir

GUESS = math.log(64)


def end_with(run: Path, *losses: float) -> None:
    """Give a run other losses at its end."""
    directory = RunDir(run)
    assert directory.summary is not None
    for loss in losses:
        directory.append_metrics({"step": 384, "samples": 384 * 64, "loss": loss})
    directory.write_summary(replace(directory.summary, final_loss=losses[-1]))


def runs_of(folder: Path, arm: str) -> list[Path]:
    return sorted(folder.glob(f"{arm}-s*"))


@pytest.mark.parametrize("loss", [GUESS, 3.5 * GUESS], ids=("collapsed", "exploded"))
def test_a_run_without_any_learning_is_told(fabricate, loss: float) -> None:
    folder = fabricate()
    end_with(runs_of(folder, "pgs")[1], *[loss] * 10)
    results = Results(read_frames(folder))
    (said,) = guessing(results)
    assert said.sentence.startswith(
        f"The loss ended no better than guessing: pgs, seed 1 ({loss:.2f}, and guessing has 4.16). "
    )
    assert said in badges(results)
    assert said.sentence in Findings(results).printout()[1]


@pytest.mark.parametrize(
    "losses", [(0.96 * GUESS,) * 10, (2.0,) * 9 + (1.2 * GUESS,)], ids=("slow", "one batch")
)
def test_a_run_that_learns_is_not(fabricate, losses: tuple[float, ...]) -> None:
    folder = fabricate({"pgs": ARMS["pgs"], "flip": ARMS["flip"]})
    end_with(runs_of(folder, "pgs")[0], *losses)
    assert guessing(Results(read_frames(folder))) == []


def test_what_guessing_has_is_the_least_loss_of_equal_features() -> None:
    features = torch.nn.functional.normalize(torch.ones(16, 4), dim=1)
    softmax, sigmoid = (TrainingConfig(batch_size=16, loss=kind) for kind in ("softmax", "sigmoid"))
    assert ClipLoss()(features, features, 10.0).item() == pytest.approx(softmax.guessing_loss, rel=1e-5)
    biases = torch.linspace(-6, 0, 601)
    found = [SigLipLoss()(features, features, 1e-6, bias).item() for bias in biases]
    assert min(found) == pytest.approx(sigmoid.guessing_loss, rel=1e-4)
