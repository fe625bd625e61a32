"""What a training costs: seconds, samples and tokens per second, the mask's share, memory."""

from __future__ import annotations

import time
from dataclasses import dataclass

import torch


@dataclass
class Totals:
    """Sums over all steps so far; they survive a resume.

    Attributes:
        samples: Pairs seen.
        train_seconds: Wall time in steps; saving, evaluation and set-up are not in it.
        cpu_seconds: Processor time of this process in steps, less sensitive to a busy machine.
        mask_seconds: Part of `train_seconds` spent choosing masks.
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
    visual_tokens: float = 0.0
    text_tokens: int = 0
    flops: int = 0
    masked_samples: int = 0
    masked_share_sum: float = 0.0

    @property
    def effective_mask_ratio(self) -> float:
        """Share of patches without influence, mean over the pairs seen while masking was on."""
        return self.masked_share_sum / self.masked_samples if self.masked_samples else 0.0


class Stopwatch:
    """Adds the time of each step to the totals."""

    def __init__(self, totals: Totals, device: torch.device) -> None:
        self.totals, self.device = totals, device
        self._wall = self._cpu = 0.0

    def start(self) -> None:
        """Begin, or go on after something that does not count."""
        self._synchronise()
        self._wall, self._cpu = time.perf_counter(), time.process_time()

    def lap(self) -> None:
        """Add the time since the last call to the totals."""
        self._synchronise()
        wall, cpu = time.perf_counter(), time.process_time()
        self.totals.train_seconds += wall - self._wall
        self.totals.cpu_seconds += cpu - self._cpu
        self._wall, self._cpu = wall, cpu

    def _synchronise(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)


def reset_peak_memory(device: torch.device) -> None:
    """Start measuring anew, where the device allows it."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)


def peak_memory_bytes(device: torch.device) -> int | None:
    """Return the most memory that tensors took on a GPU, in bytes; None on a CPU.

    There only the whole process could be measured, which is its data rather than its training.
    """
    return torch.cuda.max_memory_allocated(device) if device.type == "cuda" else None
