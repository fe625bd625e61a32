"""Exact resume: everything the next step depends on, saved so that a crash leaves the last state whole.

Masks, data order and initial weights are functions of (seed, step); so model, optimiser and step are all
there is, and the moving average of the image tower where a mask looks at its attention. No random state of
a device needs saving.
"""

from __future__ import annotations

import shutil
from dataclasses import asdict
from pathlib import Path

import torch
from torch import nn

from pgsbench.errors import RunError
from pgsbench.files import atomic
from pgsbench.models.masked_tower import Masking
from pgsbench.training.meter import Totals

STATE_FILE = "state.pt"


def save(
    folder: Path,
    *,
    model: nn.Module,
    masking: Masking,
    optimizer: torch.optim.Optimizer,
    step: int,
    totals: Totals,
) -> None:
    """Save the state after `step` steps, atomically."""
    content = {
        "model": model.state_dict(),
        "ema": masking.ema_state(),
        "optimizer": optimizer.state_dict(),
        "step": step,
        "totals": asdict(totals),
    }
    with atomic(folder / STATE_FILE) as scratch:
        torch.save(content, scratch)


def restore(
    folder: Path,
    *,
    model: nn.Module,
    masking: Masking,
    optimizer: torch.optim.Optimizer,
    device: torch.device,
) -> tuple[int, Totals]:
    """Load the last state into model, mask and optimizer; return (steps done, totals), (0, zeros) if none.

    Raises:
        RunError: There is a state, but it cannot be read or is not of this model.
    """
    path = folder / STATE_FILE
    if not path.is_file():
        return 0, Totals()
    try:
        state = torch.load(path, map_location=device, weights_only=True)
        model.load_state_dict(state["model"])
        masking.load_ema_state(state.get("ema", {}))  # earlier versions had no mask that needs it
        optimizer.load_state_dict(state["optimizer"])
        return int(state["step"]), Totals(**state["totals"])
    except Exception as error:  # damaged in any way: the way out is the same
        raise RunError(
            f"the saved state cannot be read ({type(error).__name__})",  # torch's text runs to a page
            where=str(path),
            way_out="delete the file to train this run from its beginning",
        ) from error


def discard(folder: Path) -> None:
    """Remove the state of a training that is complete."""
    shutil.rmtree(folder, ignore_errors=True)
