"""Exact resume: everything the next step depends on, saved so that an interruption leaves a whole state.

Exact to the bit on a CPU. A GPU adds some sums in an order that nobody decides and repeats none to the bit.

Masks, data order and initial weights are functions of seed, step and sample; so model, optimiser and step
are all there is, and the moving average of the image tower where a mask looks at its attention. No random
state of a device needs saving, and nothing depends on how many processes there were.

A state is a folder ``step-00000200`` with ``tensors.safetensors`` and ``state.json``. It is written under
another name and renamed when it is whole.
"""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from pgsbench.devices import ran_out
from pgsbench.errors import RunError
from pgsbench.models.masked_tower import Masking
from pgsbench.training.meter import Totals
from pgsbench.training.optim import restore_moments

TENSORS_FILE, NUMBERS_FILE = "tensors.safetensors", "state.json"
_PREFIX, _SCRATCH = "step-", "writing-"
#: Of the folders of whole states.
PATTERN = f"{_PREFIX}*"


@dataclass(frozen=True)
class Trained:
    """What a state is of.

    Attributes:
        model: The model.
        masking: Its mask.
        optimizer: Its optimizer.
        scaler: Scales the loss of half precision.
    """

    model: nn.Module
    masking: Masking
    optimizer: torch.optim.Optimizer
    scaler: torch.amp.GradScaler


def save(folder: Path, trained: Trained, *, step: int, totals: Totals, keep: int = 1) -> None:
    """Save the state after `step` steps, whole or not at all, and remove all but the last `keep`.

    Raises:
        RunError: It cannot be written; what was saved before is still there.
    """
    optimizer = trained.optimizer.state_dict()
    tensors = {f"model/{name}": value for name, value in trained.model.state_dict().items()}
    tensors |= {f"ema/{name}": value for name, value in trained.masking.ema_state().items()}
    for number, values in optimizer["state"].items():
        tensors |= {f"optimizer/{number}/{name}": value for name, value in values.items()}
    numbers = {
        "step": step,
        "totals": asdict(totals),
        "groups": optimizer["param_groups"],
        "scaler": trained.scaler.state_dict(),
    }
    scratch, whole = folder / f"{_SCRATCH}{step:08d}", folder / folder_name(step)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        shutil.rmtree(scratch, ignore_errors=True)
        scratch.mkdir()
        save_file({name: _plain(value) for name, value in tensors.items()}, scratch / TENSORS_FILE)
        (scratch / NUMBERS_FILE).write_text(json.dumps(numbers, indent=1) + "\n")
        for name in (TENSORS_FILE, NUMBERS_FILE):
            _to_disk(scratch / name)
        shutil.rmtree(whole, ignore_errors=True)
        scratch.rename(whole)
    except (OSError, SafetensorError) as error:
        shutil.rmtree(scratch, ignore_errors=True)  # others want to write, too
        raise RunError(
            f"the state after step {step} cannot be written: {getattr(error, 'strerror', None) or error}",
            where=str(folder),
            value=f"{sum(value.nbytes for value in tensors.values()) / 2**20:,.1f} MiB",
            way_out="make room; the same command goes on from "
            + ("the state before, which is still there" if _saved(folder) else "the beginning"),
        ) from error
    kept = [path for path in _saved(folder) if path.name <= whole.name][:keep]  # a later one cannot be read
    for path in {*_saved(folder), *folder.glob(f"{_SCRATCH}*")} - set(kept):
        shutil.rmtree(path, ignore_errors=True)


def restore(folder: Path, trained: Trained, *, device: torch.device) -> tuple[int, Totals]:
    """Load the last state that can be read; return (steps done, totals), (0, zeros) where there is none.

    Raises:
        RunError: There are states, but none can be read, or they are not of this model.
    """
    reason: Exception | None = None
    saved = _saved(folder)
    for path in saved:
        try:
            return _load(path, trained, device)
        except Exception as error:  # damaged in any way: the one before it may be whole
            if ran_out(error):  # it is not damaged
                raise
            reason = reason or error
    if reason is not None:
        raise RunError(
            f"the saved state cannot be read ({type(reason).__name__})",  # torch's text runs to a page
            where=str(saved[0]),
            way_out="delete the folder to train this run from its beginning",
        ) from reason
    return 0, Totals()


def discard(folder: Path) -> None:
    """Remove the state of a training that is complete."""
    shutil.rmtree(folder, ignore_errors=True)


def _load(path: Path, trained: Trained, device: torch.device) -> tuple[int, Totals]:
    numbers: dict[str, Any] = json.loads((path / NUMBERS_FILE).read_text())
    tensors = load_file(path / TENSORS_FILE, device=str(device))
    totals = Totals(**numbers["totals"])
    steps: dict[int, dict[str, Tensor]] = {}
    for name in [name for name in tensors if name.startswith("optimizer/")]:
        _, number, key = name.split("/")
        steps.setdefault(int(number), {})[key] = tensors[name]
    trained.model.load_state_dict(_below("model/", tensors))
    trained.masking.load_ema_state(_below("ema/", tensors))
    restore_moments(trained.optimizer, {"state": steps, "param_groups": numbers["groups"]})
    if numbers["scaler"]:
        trained.scaler.load_state_dict(numbers["scaler"])
    return int(numbers["step"]), totals


def _below(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}


def _saved(folder: Path) -> list[Path]:
    """Return the whole states, the last one first."""
    return sorted(folder.glob(PATTERN), reverse=True)


def folder_name(step: int) -> str:
    """Return the name of the folder of a state."""
    return f"{_PREFIX}{step:08d}"


def step_of(folder: Path) -> int:
    """Return after how many steps the state in a folder was saved, as its name says."""
    return int(folder.name.removeprefix(_PREFIX))


def _plain(value: Tensor) -> Tensor:
    return value.detach().to("cpu", copy=True).contiguous()  # safetensors refuses what shares memory


def _to_disk(path: Path) -> None:
    with path.open("rb") as file:
        os.fsync(file.fileno())
