"""Whether torchrun or srun has started this process; imports nothing heavy, as each command asks."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence

#: Commands that processes train together, one run after another.
TRAINING = {"train", "sweep", "compare"}


def launched(environment: Mapping[str, str] = os.environ) -> tuple[int, int]:
    """Return rank and number of the processes that a launcher has started; (0, 1): this one alone."""
    for rank, size in (("RANK", "WORLD_SIZE"), ("SLURM_PROCID", "SLURM_NTASKS")):
        # A batch script has SLURM_NTASKS, too; only srun's own tasks have a step.
        is_launched = rank == "RANK" or "SLURM_STEP_ID" in environment
        if is_launched and rank in environment and size in environment:
            return int(environment[rank]), int(environment[size])
    return 0, 1


def launched_rank(environment: Mapping[str, str], words: Sequence[str]) -> int | None:
    """Return which of the processes this is that a launcher has started to train; None: of none.

    Args:
        environment: Environment variables.
        words: The command and what follows.
    """
    rank, size = launched(environment)
    return rank if size > 1 and TRAINING & set(words[:1]) else None
