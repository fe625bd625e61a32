"""What a run will cost, from a few steps of training on made-up pictures on the very machine."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import torch

from pgsbench.config.schema import RunConfig, UnmaskedTuning
from pgsbench.data.made_up import MadeUp
from pgsbench.masking.configure import configure
from pgsbench.masking.text.configure import configure_text
from pgsbench.masking.text.words import WordCounts
from pgsbench.models.masked_tower import attach
from pgsbench.models.pair_cost import PairCost, Sizes
from pgsbench.models.start import build_for
from pgsbench.models.text_masking import TextMasking
from pgsbench.training.loop import train
from pgsbench.training.optim import first_unmasked_step

PROBE_SAMPLES = 64
PROBE_STEPS = 3


@dataclass(frozen=True)
class Cost:
    """What a run costs.

    Attributes:
        samples: Pairs seen.
        patch_tokens: Patch tokens in the visual transformer, over all views, mean over its blocks.
        dropped: Share of the patch tokens that is saved while masking is on; hidden ones, which save nothing,
            are not in it.
        train_seconds: Estimated time in training steps, on one thread or one GPU.
        text_tokens: Tokens that enter the text transformer, marks and padding included.
        flops: Floating-point operations of both towers (`pgsbench.models.flops`); None where a tower is not
            open_clip's own.
    """

    samples: int
    patch_tokens: float
    dropped: float
    train_seconds: float
    text_tokens: int
    flops: int | None


@dataclass(frozen=True)
class Pair:
    """What one image-text pair costs in a step, and its seconds."""

    cost: PairCost
    seconds: float


class Estimator:
    """Estimates runs on one device; each kind of step is timed once.

    Args:
        device: For example ``cpu`` or ``cuda:0``.
        threads: CPU threads, as a worker process will have.
    """

    def __init__(self, device: str, *, threads: int = 1) -> None:
        self.device, self._threads = torch.device(device), threads
        self._known: dict[str, Pair] = {}

    def cost(self, config: RunConfig) -> Cost:
        """Return what a run will cost."""
        training = config.training
        samples = training.steps * training.batch_size
        masked = first_unmasked_step(training) * training.batch_size
        short, full = self._pair(config, masked=True), self._pair(config, masked=False)
        tuned = samples - masked
        flops = None
        if short.cost.flops is not None and full.cost.flops is not None:
            flops = masked * short.cost.flops + tuned * full.cost.flops
        return Cost(
            samples=samples,
            patch_tokens=masked * short.cost.patch_tokens + tuned * full.cost.patch_tokens,
            flops=flops,
            dropped=1 - short.cost.patch_tokens / full.cost.patch_tokens,
            text_tokens=masked * short.cost.text_tokens + tuned * full.cost.text_tokens,
            train_seconds=masked * short.seconds + tuned * full.seconds,
        )

    def _pair(self, config: RunConfig, *, masked: bool) -> Pair:
        """Return what one pair costs in a step."""
        strategy = config.strategy if masked else None
        training = config.training
        text = config.text if masked else None
        key = (
            f"{config.model} {strategy} {text} {training.precision} {min(PROBE_SAMPLES, training.batch_size)}"
        )
        if key not in self._known:
            threads = torch.get_num_threads()
            torch.set_num_threads(self._threads)
            try:
                self._known[key] = self._time(config, masked=masked)
            finally:
                torch.set_num_threads(threads)
        return self._known[key]

    def _time(self, config: RunConfig, *, masked: bool) -> Pair:
        clip = build_for(config, seed=0, device=self.device)
        size = min(PROBE_SAMPLES, config.training.batch_size)
        strategy = configure(config.strategy.name, config.strategy.fields)
        masking = attach(clip.model, strategy)
        text_strategy = configure_text(config.text.strategy, config.text.fields)
        changed = {
            "samples": PROBE_STEPS * size,
            "batch_size": size,
            "log_every_steps": 1,
            "checkpoint_every_steps": PROBE_STEPS + 1,
            "checkpoint_every_minutes": 1e6,
            "unmasked_tuning": UnmaskedTuning(share=0.0 if masked else (PROBE_STEPS - 0.5) / PROBE_STEPS),
        }
        lines: list[Mapping[str, float]] = []
        with TemporaryDirectory() as folder:
            train(
                clip,
                masking,
                TextMasking(clip, text_strategy, WordCounts.none()),
                MadeUp(clip.tokenize, clip.image_size),
                config.training.model_copy(update=changed),
                seed=0,
                device=self.device,
                state_folder=Path(folder),
                emit=lines.append,
            )
        ends = [0.0, *(line["seconds"] for line in lines)]
        first = 0 if masked else 1  # what is left of the masked phase
        seconds = [after - before for before, after in itertools.pairwise(ends)][first:]
        sizes = Sizes.of(clip.model, clip.tokenize(["-"]).shape[1])
        cost = sizes.pair(config.strategy, config.text) if masked else sizes.pair(None, None)
        return Pair(cost, min(seconds) / size)
