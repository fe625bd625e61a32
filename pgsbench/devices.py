"""Which devices and how many processor cores there are; imports nothing of the training."""

from __future__ import annotations

import os

import torch

from pgsbench.errors import ConfigError


def usable_cores() -> int:
    """Return how many processor cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


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
