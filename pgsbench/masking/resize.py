"""Fewer tokens by a smaller picture."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

from pgsbench.masking.base import Need, PatchView, Selection, check_ratio, keep_all
from pgsbench.masking.noise import Draws


@dataclass(frozen=True)
class Resize:
    """CLIPA: the whole picture at a smaller size, whose patches fit the budget.

    CLIPA, "An Inverse Scaling Law for CLIP Training" (arXiv 2305.07017, section 3), in which it keeps most
    of all ways to shorten the picture. Both sides shrink by the same factor, to the whole number of patches
    whose product comes nearest to ``n (1 - mask_ratio)``: 10 x 10 for one half of 14 x 14. The picture is
    resampled bicubically with antialiasing, the position code bicubically from the full grid, as open_clip
    does when it loads a model at another size.

    Deviation: one training with one position code, which is that of the full grid, instead of two trainings
    with a conversion between them. For the last phase at full size set ``training.unmasked_tuning``.

    Args:
        mask_ratio: Share of the tokens that is saved, approximately; tables show the true number.
    """

    mask_ratio: float = 0.5
    needs: ClassVar[frozenset[Need]] = frozenset()

    def __post_init__(self) -> None:
        check_ratio("mask_ratio", self.mask_ratio)

    def grid_for(self, grid: tuple[int, int]) -> tuple[int, int]:
        """Return the (rows, cols) that fit the budget best; of two equally good ones the smaller."""
        rows, cols = grid
        wanted = rows * cols * (1.0 - self.mask_ratio)
        sizes = [
            (max(1, round(rows * side / max(grid))), max(1, round(cols * side / max(grid))))
            for side in range(1, max(grid) + 1)
        ]
        return min(sizes, key=lambda size: (abs(math.prod(size) - wanted), size))

    def select(self, view: PatchView, *, draws: Draws) -> Selection:
        """Keep every patch of the small picture."""
        del draws
        return keep_all(view)
