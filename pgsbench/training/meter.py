"""What a training costs: seconds, samples and tokens per second, the mask's share, memory."""

from __future__ import annotations

import resource
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from pgsbench.models.clip import Clip
from pgsbench.models.masked_tower import Masking
from pgsbench.models.pair_cost import model_cost
from pgsbench.models.text_masking import TextMasking
from pgsbench.training.ranks import Ranks

#: Receives one line of metrics: ``step``, ``samples``, ``seconds`` and what was measured since the last.
Emit = Callable[[Mapping[str, float]], None]


@dataclass
class Totals:
    """Sums over all steps so far; they survive a resume.

    Attributes:
        samples: Pairs seen.
        train_seconds: Wall time in steps; saving, evaluation and set-up are not in it.
        cpu_seconds: Processor time of this process in steps, less sensitive to a busy machine.
        mask_seconds: Part of `train_seconds` spent choosing masks.
        wait_seconds: Part of `train_seconds` in which this process waited for a batch; a GPU may have had
            work meanwhile.
        visual_tokens: Patch tokens in the visual transformer, over all views, mean over its blocks.
        text_tokens: Tokens that entered the text transformer, marks and padding included.
        flops: Floating-point operations of both towers, forward and backward; 0 where they cannot be told.
        masked_samples: Pairs seen while masking was on.
        masked_share_sum: Sum over those pairs of the share of patches without influence.
    """

    samples: int = 0
    train_seconds: float = 0.0
    cpu_seconds: float = 0.0
    mask_seconds: float = 0.0
    wait_seconds: float = 0.0
    visual_tokens: float = 0.0
    text_tokens: int = 0
    flops: int = 0
    masked_samples: int = 0
    masked_share_sum: float = 0.0

    @property
    def effective_mask_ratio(self) -> float:
        """Share of patches without influence, mean over the pairs seen while masking was on."""
        return self.masked_share_sum / self.masked_samples if self.masked_samples else 0.0

    @property
    def mask_ratio_over_training(self) -> float:
        """Share of patches without influence, of all that the pairs of the whole training had."""
        return self.masked_share_sum / self.samples

    @property
    def tokens_kept_over_training(self) -> float:
        """Patch tokens of a picture in the visual transformer, mean over the pairs of the whole training."""
        return self.visual_tokens / self.samples


class Meter:
    """Counts what a training does, for its totals and its lines of metrics; begins to measure when made.

    Args:
        totals: Of all steps so far; they are added to.
        clip: The model.
        masking: Its mask.
        text_masking: What shortens its captions.
        device: Where.
        ranks: The processes that train together: counts are of all of them, seconds of this one.
    """

    def __init__(
        self,
        totals: Totals,
        clip: Clip,
        masking: Masking,
        text_masking: TextMasking,
        device: torch.device,
        ranks: Ranks,
    ) -> None:
        self._totals, self._clip, self._ranks = totals, clip, ranks
        self._masking, self._text_masking = masking, text_masking
        self._cost = model_cost(clip.model)
        self._mask_before = totals.mask_seconds - masking.select_seconds - text_masking.select_seconds
        self._logged = self._so_far()
        self._device = device
        # Of `masked_share_sum`: read only now and then, since that waits for a GPU.
        self._unread: float | Tensor = 0.0
        self._wall = self._cpu = 0.0
        self.resume()

    def count(self, num_pairs: int, text_length: int, masked_share: float | Tensor) -> None:
        """Count one step.

        Args:
            num_pairs: Of this rank.
            text_length: Tokens of each caption that entered the text tower.
            masked_share: Sum over the pairs of the share of patches without influence.
        """
        totals, tokens = self._totals, self._masking.token_count
        pairs = num_pairs * self._ranks.world_size
        totals.samples += pairs
        totals.visual_tokens += pairs * tokens.mean
        totals.text_tokens += pairs * text_length
        if self._cost:
            totals.flops += pairs * self._cost.training_flops(tokens, text_length)
        if self._masking.active:
            totals.masked_samples += pairs
            self._unread = self._unread + masked_share

    def line(self, step: int, loss: Tensor, rate: float) -> dict[str, float]:
        """Return the metrics since the last line; waits for a GPU, and for the other ranks."""
        self.pause()
        totals, masking = self._totals, self._masking
        model: Any = self._clip.model
        samples, seconds, mask_seconds, cpu_seconds, wait_seconds = self._logged
        self._logged = self._so_far()
        passed = totals.train_seconds - seconds
        of_all_ranks = self._ranks.mean(
            {
                "loss": loss.item(),
                "mask_ratio_effective": float(masking.effective_ratio()),
                "tokens_kept": masking.token_count.mean,
                **masking.diagnostics(),
            }
        )
        return {
            "step": step,
            "samples": totals.samples,
            "seconds": totals.train_seconds,
            "loss": of_all_ranks.pop("loss"),
            "lr": rate,
            "logit_scale": model.logit_scale.exp().item(),
            "samples_per_second": (totals.samples - samples) / passed,
            "mask_share": (totals.mask_seconds - mask_seconds) / passed,
            "wait_share": (totals.wait_seconds - wait_seconds) / passed,
            **of_all_ranks,
            "cores_used": (totals.cpu_seconds - cpu_seconds) / passed,
            **memory_gib(self._device),
        }

    def _so_far(self) -> tuple[int, float, float, float, float]:
        totals = self._totals
        seconds = (totals.train_seconds, totals.mask_seconds, totals.cpu_seconds, totals.wait_seconds)
        return totals.samples, *seconds

    @contextmanager
    def waiting(self) -> Iterator[None]:
        """Count the time of the block as waiting for data."""
        began = time.perf_counter()
        try:
            yield
        finally:
            self._totals.wait_seconds += time.perf_counter() - began

    def pause(self) -> None:
        """Bring the totals up to date; what comes until `resume` is not measured."""
        wall, cpu = self._wall, self._cpu
        self.resume()
        self._totals.train_seconds += self._wall - wall
        self._totals.cpu_seconds += self._cpu - cpu
        spent = self._masking.select_seconds + self._text_masking.select_seconds
        self._totals.mask_seconds = self._mask_before + spent
        share = self._ranks.mean({"share": float(self._unread)})["share"]
        self._totals.masked_share_sum += share * self._ranks.world_size
        self._unread = 0.0

    def resume(self) -> None:
        """Go on measuring."""
        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)
        self._wall, self._cpu = time.perf_counter(), time.process_time()


def memory_gib(device: torch.device) -> dict[str, float]:
    """Return the most memory that this process took so far, and tensors on its GPU."""
    unit = 1 if sys.platform == "darwin" else 1024  # of getrusage, in bytes
    found = {"memory_gib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2**30}
    peak = peak_memory_bytes(device)
    return found if peak is None else found | {"gpu_memory_gib": peak / 2**30}


def peak_memory_bytes(device: torch.device) -> int | None:
    """Return the most memory that tensors took on a GPU, in bytes; None on a CPU.

    There only the whole process could be measured, which is its data rather than its training.
    """
    return torch.cuda.max_memory_allocated(device) if device.type == "cuda" else None
