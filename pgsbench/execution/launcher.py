"""Whether torchrun or srun has started this process to train; imports nothing heavy, as each command asks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

#: Commands that processes train together, one run after another.
TRAINING = {"train", "sweep", "compare"}


def launched_rank(environment: Mapping[str, str], words: Sequence[str]) -> int | None:
    """Return which of the processes this is that a launcher has started to train; None: of none.

    Args:
        environment: Environment variables.
        words: The command and what follows.
    """
    for rank, size in (("RANK", "WORLD_SIZE"), ("SLURM_PROCID", "SLURM_NTASKS")):
        is_launched = rank == "RANK" or "SLURM_STEP_ID" in environment  # a batch script has the others, too
        if is_launched and rank in environment and int(environment.get(size, "1")) > 1:
            return int(environment[rank]) if TRAINING & set(words[:1]) else None
    return None
