"""Where the random numbers of a mask come from: the seed of a run and the place in its training."""

from __future__ import annotations

import hashlib

import torch


def step_seed(seed: int, step: int, rank: int = 0, micro_batch: int = 0, *, of: str = "images") -> int:
    """Return the seed of the mask of one batch.

    Args:
        seed: Seed of the run.
        step: Optimizer step.
        rank: Process of a distributed training.
        micro_batch: Position within an accumulated batch.
        of: What is masked, ``images`` or ``texts``: their draws have nothing to do with each other.
    """
    # Neighbouring seeds and steps must not give related streams, hence a hash.
    numbers = (seed, step, rank, micro_batch)
    text = "/".join(map(str, numbers if of == "images" else (of, *numbers))).encode()
    return int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), "big") >> 1


def step_generator(seed: int, step: int, device: torch.device | str = "cpu") -> torch.Generator:
    """Return the generator that a training with this seed draws the mask of this step from."""
    return torch.Generator(device).manual_seed(step_seed(seed, step))
