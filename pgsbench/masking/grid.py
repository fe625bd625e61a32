"""Regular patterns: checkerboards, one patch of each cell, every k-th patch."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass
from functools import cache
from itertools import product
from typing import ClassVar, Literal, TypeVar

import torch
from torch import Tensor

from pgsbench.masking.base import Need, PatchView, Selection, check_ratio, keep_all
from pgsbench.masking.noise import Draws

#: Row or column of one patch, or of many.
Place = TypeVar("Place", int, Tensor)


@dataclass(frozen=True)
class Grid:
    """Patches are kept on a regular pattern: a checkerboard, one of four, every k-th.

    The grid-wise sampling of MAE (arXiv 2111.06377, figure 6), which keeps one patch of each 2 x 2 cell at a
    ratio of 0.75. From a ratio of 0.5 on, one of k patches is kept; below 0.5, one of k is dropped. k is the
    whole number nearest to what the ratio asks for:

    * k = 2: a checkerboard.
    * k = 4, 9, 16, ...: one patch of each square cell.
    * any other k: every k-th patch of a row, shifted from row to row.

    Deviation: only these ratios exist, so 0.6 gives the checkerboard of 0.5. Where k does not divide the
    grid, the pattern begins where its ratio comes nearest. The effective ratio in tables is the true one. The
    pattern is shifted cyclically, so that every phase keeps the same number of patches.

    Args:
        mask_ratio: Share of the patches that is dropped, approximately.
        phase: "random" shifts the pattern anew for each image, "fixed" always shows the same patches.
    """

    mask_ratio: float = 0.5
    phase: Literal["random", "fixed"] = "random"
    needs: ClassVar[frozenset[Need]] = frozenset()

    def __post_init__(self) -> None:
        check_ratio("mask_ratio", self.mask_ratio)

    def num_tokens(self, grid: tuple[int, int]) -> int:
        """Return how many patches the pattern of this ratio keeps."""
        return pattern_of(grid, self.mask_ratio)[3] if self.mask_ratio else grid[0] * grid[1]

    def select(self, view: PatchView, *, draws: Draws) -> Selection:
        """Shift the pattern of this ratio and keep what it shows."""
        if self.mask_ratio == 0:
            return keep_all(view)
        rows, cols = view.grid
        every, start, keeps, k = pattern_of(view.grid, self.mask_ratio)
        row = torch.arange(rows, device=view.device)[None, :, None].expand(view.batch_size, -1, -1)
        col = torch.arange(cols, device=view.device)[None, None, :].expand(view.batch_size, -1, -1)
        if self.phase == "random":
            uniform = draws.uniform(2)
            row = (row + (uniform[:, :1, None] * rows).long()) % rows
            col = (col + (uniform[:, 1:, None] * cols).long()) % cols
        shown = ((residues(row, col, every) == start) == keeps).flatten(1)
        # A stable sort brings the shown patches to the front without changing their order.
        order = shown.int().argsort(dim=1, descending=True, stable=True)
        return Selection(order[:, :k])


# Found outside of a compiled graph: the pattern depends on nothing but these two constants.
@torch.compiler.assume_constant_result  # type: ignore[untyped-decorator]  # torch's
def pattern_of(grid: tuple[int, int], mask_ratio: float) -> tuple[int, int, bool, int]:
    """Return the pattern for a ratio on a grid; it keeps at least one patch.

    Returns:
        ``(every, start, keeps, k)``: one of `every` patches is special, those whose residue is `start`;
        whether they are kept or dropped; and how many patches k are kept.
    """
    n = grid[0] * grid[1]
    keeps = mask_ratio >= 0.5
    wanted = n * (1.0 - mask_ratio if keeps else mask_ratio)  # of the special patches
    every = max(2, round(n / max(1.0, wanted)))
    counts = _count(grid, every)
    allowed = [start for start in range(every) if (counts[start] if keeps else n - counts[start]) > 0]
    # Rounded, so that counts that are equally near give the first one.
    start = min(allowed, key=lambda start: round(abs(counts[start] - wanted), 6))
    return every, start, keeps, counts[start] if keeps else n - counts[start]


def residues(row: Place, col: Place, every: int) -> Place:
    """Return the residue of each patch, in [0, every); equal residues lie as far apart as they can."""
    side = math.isqrt(every)
    if every == 2:
        return (row + col) % 2
    if side * side == every:
        return row % side * side + col % side
    return (col + _step(every) * row) % every


def _step(every: int) -> int:
    # It shares no factor with `every`, so that all rows and all columns are treated alike.
    steps = [step for step in range(1, every) if math.gcd(step, every) == 1]
    return min(steps, key=lambda step: abs(step - math.sqrt(every)))


@cache
def _count(grid: tuple[int, int], every: int) -> tuple[int, ...]:
    # How many patches of the grid have each residue.
    found = Counter(residues(row, col, every) for row, col in product(*map(range, grid)))
    return tuple(found[residue] for residue in range(every))
