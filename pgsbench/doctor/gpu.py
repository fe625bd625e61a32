"""What a GPU shows in minutes: whether it draws a CPU's masks, trains in each precision, and how fast."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path

import torch

from pgsbench.config.schema import RunConfig
from pgsbench.devices import memory_told
from pgsbench.doctor import OK, PROBLEM, WARNING, Check
from pgsbench.errors import RunError, UserError
from pgsbench.execution.estimate import Estimator
from pgsbench.masking.base import PatchView
from pgsbench.masking.configure import configure
from pgsbench.masking.noise import Draws
from pgsbench.models.step_memory import step_memory
from pgsbench.records.json_files import write_json

#: What a user can send.
FILE = "pgsbench-gpu.json"
#: Masks that draw and do nothing else.
_DRAWN = ("random", "centred", "block")
_TIMED = ("none", "flip", "pgs", "pgs-mixed")
_SEND = f"send {FILE}"


def checks(device: str, *, model: str = "ViT-B-16", batch_size: int = 512) -> Iterator[Check]:
    """Yield what a device does.

    Args:
        device: For example ``cuda:0``.
        model: Whose steps are timed.
        batch_size: Pairs of a timed step.
    """
    equal = {name: torch.equal(_kept(name, "cpu"), _kept(name, device).cpu()) for name in _DRAWN}
    others = [name for name, is_equal in equal.items() if not is_equal]
    if others:
        yield Check("masks that draw", f"other than the CPU's: {', '.join(others)}", PROBLEM, _SEND)
    else:
        yield Check("masks that draw", "of 64 pictures as on the CPU")
    for precision in ("fp32", "bf16", "fp16"):
        yield _timed(f"{precision}, tiny-vit", device, "tiny-vit", "pgs", 64, precision)
    for name in _TIMED:
        yield _timed(f"{name}, {model}", device, model, name, batch_size, "auto")


def _kept(name: str, device: str) -> torch.Tensor:
    view = PatchView((14, 14), (16, 16), 64, torch.device(device))
    return configure(name, {}).select(view, draws=Draws.of_batch(64, seed=0, device=device)).keep


def _timed(what: str, device: str, model: str, strategy: str, batch_size: int, precision: str) -> Check:
    """Train a few steps; a loss that is not finite ends a training."""
    training = {"samples": batch_size, "batch_size": batch_size, "precision": precision}
    training |= {"unmasked_tuning": {"share": 0.0}}
    config = RunConfig.model_validate({"model": model, "strategy": strategy, "training": training})
    on_gpu = device.startswith("cuda")
    if on_gpu:
        torch.cuda.reset_peak_memory_stats(device)
    try:
        with memory_told(lambda told: RunError(f"memory ran out: {told}")):
            seconds = Estimator(device).seconds(config).masked
    except UserError as error:
        return Check(what, error.rule, WARNING if "memory" in error.rule else PROBLEM, _SEND)
    found = f"{1 / seconds:,.0f} pairs/s in steps of {batch_size} pairs"
    planned = step_memory(config, device_type="cuda").peak
    if on_gpu and planned:
        peak = torch.cuda.max_memory_allocated(device)
        found += f", {peak / 2**30:.1f} GiB at most, {planned / 2**30:.1f} by plan"
    return Check(what, found, OK)


def write(folder: Path, found: Sequence[Check]) -> Path:
    """Write checks as JSON, and return the file."""
    write_json(folder / FILE, [asdict(one) for one in found])
    return folder / FILE
