"""Regular patterns: checkerboard, one of four, and lattices between them."""

from __future__ import annotations

from dataclasses import dataclass
from math import gcd
from typing import ClassVar, Literal

import torch
from torch import Tensor

from pgsbench.masking.base import Need, PatchView, Selection, check_ratio, keep_all

#: Longest period of a lattice, which makes shares a multiple of 1/2 ... 1/10.
LONGEST_PERIOD = 10


@dataclass(frozen=True)
class Grid:
    """Patches are kept on a regular pattern: checkerboard, one of four, a lattice otherwise.

    The grid-wise sampling of MAE (arXiv 2111.06377, figure 6) keeps one patch of each 2 x 2 cell at a
    ratio of 0.75. Here also a checkerboard at 0.5, three of each 2 x 2 cell at 0.25, and for any other
    ratio the nearest lattice of a period up to 10. Deviations: the ratio is that of the nearest pattern,
    so the effective one is to be read off the selection; the pattern is shifted cyclically, so that
    every phase keeps the same number of patches on odd grids too.

    Args:
        mask_ratio: Share of the patches that is dropped, approximately.
        phase: "random" shifts the pattern anew for each image, "fixed" shows always the same patches.
    """

    mask_ratio: float = 0.5
    phase: Literal["random", "fixed"] = "random"
    needs: ClassVar[frozenset[Need]] = frozenset()

    def __post_init__(self) -> None:
        check_ratio("mask_ratio", self.mask_ratio)

    def select(self, view: PatchView, *, generator: torch.Generator) -> Selection:
        """Shift the pattern of this ratio and keep what it shows."""
        if self.mask_ratio == 0:
            return keep_all(view)
        rows, cols = view.grid
        b, n = view.batch_size, view.num_patches
        pattern = pattern_of(view.grid, 1.0 - self.mask_ratio).to(view.device)
        shift = torch.zeros(b, 2, dtype=torch.int64, device=view.device)
        if self.phase == "random":
            uniform = torch.rand(b, 2, generator=generator, device=view.device)
            shift = (uniform * torch.tensor([rows, cols], device=view.device)).long()
        row = (torch.arange(rows, device=view.device)[None, :, None] + shift[:, :1, None]) % rows
        col = (torch.arange(cols, device=view.device)[None, None, :] + shift[:, 1:, None]) % cols
        shown = pattern[row, col].view(b, n)
        k = int(pattern_of(view.grid, 1.0 - self.mask_ratio).sum())
        # A stable sort brings the shown patches to the front without changing their order.
        return Selection(shown.int().argsort(dim=1, descending=True, stable=True)[:, :k])


def pattern_of(grid: tuple[int, int], share: float) -> Tensor:
    """Return the regular pattern that keeps about `share` of a grid, as (rows, cols) bool on the CPU.

    One of each 2 x 2 or 3 x 3 cell, all but one of it, or the patches whose residue
    ``(col + step * row) mod period`` is one of `kept` evenly spread residues.
    """
    row = torch.arange(grid[0])[:, None]
    col = torch.arange(grid[1])[None, :]
    fractions = [(kept, period) for period in range(2, LONGEST_PERIOD + 1) for kept in range(1, period)]
    kept, period = min(fractions, key=lambda pair: (abs(pair[0] / pair[1] - share), pair[1]))
    for side in (2, 3):
        corner = (row % side == 0) & (col % side == 0)
        if (kept, period) == (1, side * side):
            return corner
        if (kept, period) == (side * side - 1, side * side):
            return ~corner
    residue = (col + _step(period) * row) % period
    return (residue * kept) % period < kept


def _step(period: int) -> int:
    # The step that sets equal residues of neighbouring rows farthest apart; it shares no factor with the
    # period, so that every row and every column is treated alike.
    steps = [step for step in range(1, period) if gcd(step, period) == 1]
    return max(steps, key=lambda step: min(_distance(step * rows % period, period, rows) for rows in (1, 2)))


def _distance(shift: int, period: int, rows: int) -> float:
    return float(min(shift, period - shift) ** 2 + rows**2)
