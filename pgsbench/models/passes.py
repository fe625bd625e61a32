"""Forward passes of a training whose loop says nothing of them."""

from __future__ import annotations

from typing import Any

import torch
import torch.distributed as dist


class Passes:
    """Counts the forward passes of one tower, and says of each what `begin_step` wants to know.

    Passes with and without gradient are counted apart: who accumulates gradients with a cache of features, as
    open_clip_train does, passes each batch once without and once with, and the two have one mask. A pass that
    runs again during backward has the mask that it had, as long as backward runs before the next pass.

    Args:
        seed: Decides what is random.
        total: Passes with gradient in the whole training; None: not known, and the training stands at its
            beginning for strategies that change as it goes on.
        done: Passes that an interrupted training has done already.
    """

    def __init__(self, seed: int, *, total: int | None = None, done: int = 0) -> None:
        self._seed, self._total = seed, total
        self._next = {True: done, False: done}
        self._place: dict[str, Any] = {}

    def next(self, batch_size: int, device: torch.device) -> dict[str, Any]:
        """Return seed, step, progress and the numbers of the samples (b,) of the pass that begins.

        The processes of `torch.distributed` have numbers of their own, in the order of their ranks.
        """
        runs_again = torch._C._current_graph_task_id() != -1  # within backward
        if runs_again and self._place:
            return self._place
        step = self._next[torch.is_grad_enabled()]
        self._next[torch.is_grad_enabled()] += 1
        rank, world_size = place_among_ranks()
        first = (step * world_size + rank) * batch_size
        self._place = {
            "seed": self._seed,
            "step": step,
            "progress": min(1.0, step / self._total) if self._total else 0.0,
            "samples": torch.arange(first, first + batch_size, device=device),
        }
        return self._place


def place_among_ranks() -> tuple[int, int]:
    """Return the rank of this process and the number of processes, as torch.distributed has them."""
    return (dist.get_rank(), dist.get_world_size()) if dist.is_initialized() else (0, 1)
