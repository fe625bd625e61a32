"""What a run will cost: tokens and operations by its plan, seconds from a few steps on the very machine."""

from __future__ import annotations

import gc
import itertools
import time
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import torch

from pgsbench.config.schema import RunConfig
from pgsbench.config.training import UnmaskedTuning
from pgsbench.data.samples import MadeUp
from pgsbench.devices import use
from pgsbench.masking.configure import configure, configure_text
from pgsbench.masking.text.words import WordCounts
from pgsbench.models.masked_tower import attach
from pgsbench.models.pair_cost import pair_costs
from pgsbench.models.start import build_for
from pgsbench.models.text_masking import TextMasking
from pgsbench.study.budget import PairSeconds
from pgsbench.training.loop import train
from pgsbench.training.optim import first_unmasked_step

#: Pairs of a step that is timed: at most so many, and on a CPU at most so many operations of them.
PROBE_SAMPLES = {"cpu": 64, "cuda": 512}
PROBE_FLOPS = 2.5e11
PROBE_STEPS = 3


@dataclass(frozen=True)
class Cost:
    """What a run costs.

    Attributes:
        samples: Pairs seen.
        patch_tokens: Patch tokens in the visual transformer, over all views, mean over its blocks.
        dropped: Share of the patch tokens that is saved while masking is on; hidden ones, which save nothing,
            are not in it.
        train_seconds: Estimated time in training steps, on one device; None where nothing is known of it.
        text_tokens: Tokens that enter the text transformer, marks and padding included.
        flops: Floating-point operations of both towers (`pgsbench.models.pair_cost`); None where one is not
            open_clip's own.
    """

    samples: int
    patch_tokens: float
    dropped: float
    train_seconds: float | None
    text_tokens: int
    flops: int | None


def cost_of(config: RunConfig, seconds: PairSeconds | None = None, *, first_step: int = 0) -> Cost:
    """Return what a run costs.

    Args:
        config: The run.
        seconds: What a pair takes.
        first_step: At which it begins, of those before its unmasked phase.
    """
    training = config.training
    samples = (training.steps - first_step) * training.batch_size
    masked = (first_unmasked_step(training) - first_step) * training.batch_size
    tuned = samples - masked
    short, full = pair_costs(config.model, config.strategy, config.text)
    flops = None
    if short.flops is not None and full.flops is not None:
        flops = masked * short.flops + tuned * full.flops
    return Cost(
        samples=samples,
        patch_tokens=masked * short.patch_tokens + tuned * full.patch_tokens,
        dropped=1 - short.patch_tokens / full.patch_tokens,
        train_seconds=masked * seconds.masked + tuned * seconds.whole if seconds else None,
        text_tokens=masked * short.text_tokens + tuned * full.text_tokens,
        flops=flops,
    )


class Estimator:
    """Times the steps of runs on one device, each kind of step once, on made-up pictures.

    On a CPU it is the time of the processor by the number of threads: what other work on the machine hardly
    changes, and what a step takes where there is none.

    Args:
        device: For example ``cpu`` or ``cuda:0``.
        threads: CPU threads, as a worker process will have.
        steps: Timed steps; the fastest counts.
    """

    def __init__(self, device: str, *, threads: int = 1, steps: int = PROBE_STEPS) -> None:
        self.device, self._threads, self._steps = torch.device(device), threads, steps
        self._known: dict[str, float] = {}

    def cost(self, config: RunConfig, *, first_step: int = 0) -> Cost:
        """Return what a run will cost; see `cost_of`."""
        return cost_of(config, self.seconds(config), first_step=first_step)

    def seconds(self, config: RunConfig) -> PairSeconds:
        """Return the seconds of one pair in a step of a run, without those of reading it."""
        masked = self._seconds(config, masked=True)
        is_tuned = config.training.unmasked_tuning.share > 0
        return PairSeconds(masked, self._seconds(config, masked=False) if is_tuned else masked)

    def _seconds(self, config: RunConfig, *, masked: bool) -> float:
        training = config.training
        kind = (config.strategy, config.text) if masked else ()
        how = (training.precision, training.batch_size, training.micro_batch_size, training.compile)
        key = f"{config.model} {kind} {how} {training.loss}"
        if key not in self._known:
            threads = torch.get_num_threads()
            torch.set_num_threads(self._threads)
            try:
                self._known[key] = self._time(config, masked=masked)
            finally:
                torch.set_num_threads(threads)
                if self.device.type == "cuda":  # what torch keeps of its memory the study's workers lack
                    gc.collect()
                    torch.cuda.empty_cache()
        return self._known[key]

    def _time(self, config: RunConfig, *, masked: bool) -> float:
        use(self.device)
        untrained = config.model.model_copy(update={"pretrained": None})  # weights take no time
        clip = build_for(config.model_copy(update={"model": untrained}), seed=0, device=self.device)
        size = self._pairs(config, masked=masked)
        masking = attach(clip.model, configure(config.strategy.name, config.strategy.fields))
        text_strategy = configure_text(config.text.strategy, config.text.fields)
        steps, micro = self._steps, config.training.micro_batch_size
        changed: dict[str, object] = {
            "samples": steps * size,
            "batch_size": size,
            "micro_batch_size": micro and max(1, micro * size // config.training.batch_size),
            "log_every_steps": 1,
            "checkpoint_every_steps": steps + 1,
            "checkpoint_every_minutes": 1e6,
            "branch_steps": [],
            "unmasked_tuning": UnmaskedTuning(share=0.0 if masked else (steps - 0.5) / steps),
        }
        ends = [self._now()]
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
                emit=lambda _: ends.append(self._now()),
            )
        first = 0 if masked else 1  # what is left of the masked phase
        return min(after - before for before, after in list(itertools.pairwise(ends))[first:]) / size

    def _pairs(self, config: RunConfig, *, masked: bool) -> int:
        """Return how many pairs are timed at a time: as many as a step has, if that is quick."""
        training = config.training
        size = min(training.batch_size, PROBE_SAMPLES.get(self.device.type, PROBE_SAMPLES["cpu"]))
        flops = pair_costs(config.model, config.strategy, config.text)[0 if masked else 1].flops
        if self.device.type == "cpu" and flops:
            size = min(size, int(PROBE_FLOPS // flops))
        return max(2, size)

    def _now(self) -> float:
        if self.device.type == "cpu":
            return time.process_time() / self._threads
        torch.cuda.synchronize(self.device)
        return time.perf_counter()
