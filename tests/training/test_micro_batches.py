"""Micro-batches with a cache of features have the gradient of the whole batch, masks and all."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from trainings import Training, run


@pytest.mark.parametrize(
    "training",
    [
        Training("pgs", (("mask_ratio", 0.3), ("max_ratio", 0.5))),
        Training("attentive", (("views", 2),), text="random"),
        Training("none").changed(loss="sigmoid"),
    ],
    ids=lambda training: training.strategy,
)
def test_micro_batches_train_as_the_whole_batch(training: Training, tmp_path: Path) -> None:
    whole = run(training, tmp_path / "whole")
    for size in (5, 8):  # 16 pairs: the last part may be smaller
        parts = run(training.changed(micro_batch_size=size), tmp_path / str(size))
        assert parts.losses == pytest.approx(whole.losses, rel=1e-5)
        for name, value in whole.weights.items():
            torch.testing.assert_close(parts.weights[name], value, atol=1e-5, rtol=0, msg=name)


def test_a_batch_in_two_losses_would_not_train_so(tmp_path: Path) -> None:
    # Without the cache each part has fewer negatives: the test above can fail.
    whole = run(Training(), tmp_path / "whole")
    half = run(Training().changed(batch_size=8, samples=48), tmp_path / "half")
    assert half.losses != pytest.approx(whole.losses, rel=1e-2)
