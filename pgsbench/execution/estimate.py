"""What a run will cost, from a few steps timed on made-up pictures on the very machine."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

import torch

from pgsbench.config.schema import RunConfig
from pgsbench.masking.configure import configure
from pgsbench.models.clip import build, contrastive_loss
from pgsbench.models.masked_tower import attach
from pgsbench.training.loop import autocast
from pgsbench.training.optim import adamw, first_unmasked_step

PROBE_SAMPLES = 64
PROBE_STEPS = 3


@dataclass(frozen=True)
class Cost:
    """What a run costs.

    Attributes:
        samples: Pairs seen.
        patch_tokens: Patch tokens that enter the visual transformer.
        dropped: Share of the patches that is dropped while masking is on; hidden ones, which save nothing,
            are not in it.
        train_seconds: Estimated time in training steps, on one thread or one GPU.
    """

    samples: int
    patch_tokens: int
    dropped: float
    train_seconds: float


class Estimator:
    """Estimates runs on one device; each kind of step is timed once.

    Args:
        device: For example ``cpu`` (one thread, as a worker process has) or ``cuda:0``.
    """

    def __init__(self, device: str) -> None:
        self.device = torch.device(device)
        self._known: dict[str, tuple[float, int]] = {}

    def cost(self, config: RunConfig) -> Cost:
        """Return what a run will cost."""
        training = config.training
        samples = training.steps * training.batch_size
        masked = first_unmasked_step(training) * training.batch_size
        masked_seconds, kept = self._step(config, masked=True)
        whole_seconds, patches = self._step(config, masked=False)
        return Cost(
            samples=samples,
            patch_tokens=masked * kept + (samples - masked) * patches,
            dropped=1 - kept / patches,
            train_seconds=masked * masked_seconds + (samples - masked) * whole_seconds,
        )

    def _step(self, config: RunConfig, *, masked: bool) -> tuple[float, int]:
        """Return (seconds for a sample, patch tokens of a sample)."""
        strategy = config.strategy if masked else None
        training = config.training
        key = f"{config.model} {strategy} {training.precision} {min(PROBE_SAMPLES, training.batch_size)}"
        if key not in self._known:
            threads = torch.get_num_threads()
            torch.set_num_threads(1 if self.device.type == "cpu" else threads)
            try:
                self._known[key] = self._time(config, masked=masked)
            finally:
                torch.set_num_threads(threads)
        return self._known[key]

    def _time(self, config: RunConfig, *, masked: bool) -> tuple[float, int]:
        clip = build(
            config.model.name,
            seed=0,
            device=self.device,
            grad_checkpointing=config.model.grad_checkpointing,
            token_std=config.model.token_std,
        )
        model: Any = clip.model.train()
        masking = attach(clip.model, configure(config.strategy.name, config.strategy.fields))
        masking.active = masked
        optimizer, loss_of = adamw(model, config.training), contrastive_loss()
        size = min(PROBE_SAMPLES, config.training.batch_size)
        generator = torch.Generator().manual_seed(0)
        images = torch.randn(size, 3, *clip.image_size, generator=generator).to(self.device)
        objects = torch.ones(size, *clip.image_size, dtype=torch.uint8)
        texts = clip.tokenize(["a picture of nothing in particular"] * size).to(self.device)
        seconds = []
        for step in range(PROBE_STEPS):
            self._wait()
            started = time.perf_counter()
            masking.begin_step(seed=0, step=step, objects=objects)
            with autocast(config.training.precision, self.device):
                out = model(images, texts)
                loss = loss_of(out["image_features"], out["text_features"], out["logit_scale"])
            optimizer.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
            optimizer.step()
            self._wait()
            seconds.append(time.perf_counter() - started)
        return min(seconds) / size, masking.num_kept

    def _wait(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
