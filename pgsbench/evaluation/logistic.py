"""Multinomial logistic regression on CPU or GPU: by L-BFGS to its minimum, or by AdamW for some epochs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import DataLoader

from pgsbench.evaluation.ranking import Ranks

MAX_ITERATIONS = 1000  #: As CLIP's probes have (arXiv 2103.00020, appendix A.3).

#: Largest entry of the gradient, per sample, at which a fit has converged.
TOLERANCE = 1e-8

#: Logits held at a time.
CHUNK = 1 << 26

#: Steps of the grid of L2 strengths in one decade, and its decades.
STEPS_A_DECADE, LOWEST, HIGHEST = 8, -6, 6


@dataclass(frozen=True)
class Linear:
    """A linear classifier.

    Attributes:
        weight: (classes, d) float64.
        bias: (classes,) float64.
    """

    weight: Tensor
    bias: Tensor

    def logits(self, features: Tensor) -> Tensor:
        """Return (n, classes) float64 for (n, d) features."""
        return features.double() @ self.weight.T + self.bias


def ranks_of(logits: Tensor, labels: Tensor) -> Ranks:
    """Return where the right class of each sample ranks by (n, classes) logits; NaN is below nothing."""
    right = logits.gather(1, labels[:, None])
    last = (~(logits < right)).sum(dim=1) - 1  # the right one is not below itself
    return Ranks(last, (logits > right).sum(dim=1), logits.argmax(dim=1))


def fit(
    features: Tensor, labels: Tensor, num_classes: int, l2: float, *, start: Linear | None = None
) -> Linear:
    """Return the minimum of ``sum of cross-entropies + l2 / 2 * |weight|^2``; the bias is free.

    scikit-learn's ``LogisticRegression`` with ``C = 1 / l2`` has the same minimum. Double precision: at the
    strongest penalties classes differ by logits of 1e-6, at the weakest the minimum is flat.

    Args:
        features: (n, d), on the device to compute on.
        labels: (n,) class numbers.
        num_classes: Number of classes.
        l2: Strength of the penalty, larger than 0.
        start: Where to begin; there is only one minimum.
    """
    features = features.double()
    n, d = features.shape
    weight = features.new_zeros(num_classes, d) if start is None else start.weight.clone()
    bias = features.new_zeros(num_classes) if start is None else start.bias.clone()
    weight.requires_grad_()
    bias.requires_grad_()
    optimizer = torch.optim.LBFGS(
        [weight, bias],
        max_iter=MAX_ITERATIONS,
        tolerance_grad=TOLERANCE,
        tolerance_change=1e-14,
        line_search_fn="strong_wolfe",
    )
    rows = max(1, CHUNK // num_classes)

    def objective() -> Tensor:
        optimizer.zero_grad()
        total = l2 / (2 * n) * weight.square().sum()
        total.backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
        value = total.detach()
        for at in range(0, n, rows):  # gradients add up: the logits of all samples never exist at once
            logits = F.linear(features[at : at + rows], weight, bias)
            loss = F.cross_entropy(logits, labels[at : at + rows], reduction="sum") / n
            loss.backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
            value = value + loss.detach()
        return value

    optimizer.step(objective)  # type: ignore[no-untyped-call]  # torch leaves it untyped
    return Linear(weight.detach(), bias.detach())


#: Defaults of clip_benchmark's command line for its probe.
ADAMW_EPOCHS, ADAMW_BATCH_SIZE, ADAMW_LEARNING_RATE = 10, 64, 0.1


def fit_by_adamw(
    features: Tensor, labels: Tensor, num_classes: int, weight_decay: float, *, seed: int
) -> Linear:
    """Return a classifier after a fixed number of epochs of AdamW, as clip_benchmark's probe is trained.

    The learning rate falls along a cosine to 0. The first weights and the order of the samples are those of
    clip_benchmark under the same seed; single precision.

    Args:
        features: (n, d), on the device to compute on.
        labels: (n,) class numbers.
        num_classes: Number of classes.
        weight_decay: AdamW's.
        seed: Decides first weights and order.
    """
    features = features.float()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = nn.Linear(features.shape[1], num_classes).to(features.device)
        optimizer = torch.optim.AdamW(model.parameters(), lr=ADAMW_LEARNING_RATE, weight_decay=weight_decay)
        numbers: Any = range(len(labels))  # a loader of rows themselves would take them one by one
        batches: DataLoader[int] = DataLoader(numbers, ADAMW_BATCH_SIZE, shuffle=True)
        steps = ADAMW_EPOCHS * len(batches)
        for epoch in range(ADAMW_EPOCHS):
            for step, rows in enumerate(batches, epoch * len(batches)):
                for group in optimizer.param_groups:
                    group["lr"] = 0.5 * (1 + np.cos(np.pi * step / steps)) * ADAMW_LEARNING_RATE
                optimizer.zero_grad()
                F.cross_entropy(model(features[rows]), labels[rows]).backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
                optimizer.step()
    return Linear(model.weight.detach().double(), model.bias.detach().double())


def search_l2(quality: Callable[[float], tuple[float, ...]]) -> float:
    """Return the best L2 strength of a grid from 1e-6 to 1e6, eight steps a decade.

    CLIP's search (arXiv 2103.00020, appendix A.3): every second decade first, then the interval around the
    peak is halved until it is one step wide. Of equals the strongest penalty wins.

    Args:
        quality: From an L2 strength to how well a classifier does on held-out samples; asked once for each.
    """
    known: dict[int, tuple[float, ...]] = {}

    def look(steps: list[int]) -> int:
        for step in steps:
            if step not in known:
                known[step] = quality(10.0 ** (step / STEPS_A_DECADE))
        return max(steps, key=lambda step: (known[step], step))

    low, high = LOWEST * STEPS_A_DECADE, HIGHEST * STEPS_A_DECADE
    width = 2 * STEPS_A_DECADE
    peak = look(list(range(low, high + 1, width)))
    while width > 1:
        width //= 2
        peak = look([step for step in (peak - width, peak, peak + width) if low <= step <= high])
    return float(10.0 ** (peak / STEPS_A_DECADE))
