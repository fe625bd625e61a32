"""Which devices and processor cores there are, and what is said where their memory runs out.

Torch, Python and numpy each have words of their own for that. Nothing of the training is imported.
"""

from __future__ import annotations

import os
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

from pgsbench.errors import ConfigError


def usable_cores() -> int:
    """Return how many processor cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def use(name: str | torch.device) -> torch.device:
    """Return a device after it was made the current one of this process.

    On GPUs, events and new memory go by the current device. Convolutions there take float32 as it is from
    now on: torch's default would round what it multiplies to ten bits (TF32), in a run that is called fp32.
    """
    device = torch.device(name)
    if device.type == "cuda":
        if device.index is not None:
            torch.cuda.set_device(device)
        torch.backends.cudnn.allow_tf32 = False
    return device


def sent(values: Tensor, device: torch.device) -> Tensor:
    """Return a tensor on a device. The host goes on meanwhile, for which a GPU needs pinned memory."""
    if device.type == "cuda" and values.device.type == "cpu":
        values = values.pin_memory()  # as it is where the reader has pinned it
    return values.to(device, non_blocking=True)


def devices_named(name: str) -> list[str]:
    """Return the devices that an option names, at least one.

    Args:
        name: ``auto`` (all GPUs where there are any, else the CPU), ``cpu``, ``cuda`` (all GPUs) or a single
            one such as ``cuda:1``.

    Raises:
        ConfigError: There is no such device.
    """
    if name == "cpu":
        return ["cpu"]
    num_gpus = torch.cuda.device_count() if torch.cuda.is_available() else 0
    gpus = [f"cuda:{index}" for index in range(num_gpus)]
    if name == "auto":
        return gpus or ["cpu"]
    if name == "cuda" and gpus:
        return gpus
    if name not in gpus:
        way_out = f"valid: {', '.join(['auto', 'cpu', *(['cuda', *gpus] if gpus else [])])}"
        raise ConfigError("there is no such device", where="--device", value=name, way_out=way_out)
    return [name]


def gains_by_bf16(name: str) -> bool:
    """Tell whether a device multiplies bfloat16 faster than float32: newer GPUs, and CPUs with AMX."""
    if torch.device(name).type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    has_amx = getattr(torch.cpu, "_is_amx_tile_supported", lambda: False)  # PyTorch 2.4 does not know
    return bool(has_amx())


#: Of a RuntimeError, as torch has a class of its own for GPUs alone.
_SIGNS = ("out of memory", "not enough memory", "can't allocate memory", "ALLOC_FAILED")
_MAX_LETTERS = 240


@contextmanager
def memory_told(tell: Callable[[str], Exception]) -> Iterator[None]:
    """Raise what `tell` makes of the text of an error, where memory runs out in the block.

    The variables of the functions that were called in the block are let go, as they hold the memory that is
    missing: whoever catches the error may go on with something smaller.
    """
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if not ran_out(error):
            raise
        traceback.clear_frames(error.__traceback__)
        raise tell(_in_short(error)) from None


def ran_out(error: BaseException) -> bool:
    """Tell whether an error says that there is not enough memory."""
    return isinstance(error, MemoryError) or any(sign in str(error) for sign in _SIGNS)


def _in_short(error: BaseException) -> str:
    text = str(error).strip().partition("\n")[0]
    _, found, numbers = text.rpartition("] ")  # torch begins with a place in its own source
    return (numbers if found else text)[:_MAX_LETTERS] or type(error).__name__
