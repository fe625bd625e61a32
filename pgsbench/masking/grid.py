"""Regular patterns: checkerboard, one of each cell, and lattices between them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from itertools import product
from math import gcd
from typing import ClassVar, Literal, NamedTuple

import torch
from torch import Tensor

from pgsbench.masking.base import Need, PatchView, Selection, check_ratio, keep_all

#: Longest period of a pattern along a row or a column.
LONGEST_PERIOD = 10


@dataclass(frozen=True)
class Grid:
    """Patches are kept on a regular pattern: checkerboard, one of four, a lattice otherwise.

    The grid-wise sampling of MAE (arXiv 2111.06377, figure 6) keeps one patch of each 2 x 2 cell at a
    ratio of 0.75. Here also a checkerboard at 0.5, three of each 2 x 2 cell at 0.25, and for any other
    ratio larger cells or lattices, of a period up to 10. Deviations: of all these patterns the one is
    taken whose ratio on the grid at hand is nearest. That is within 0.03 or one patch of what was asked for,
    but one patch is much of a small grid, at least one stays, and a very low ratio may drop none. The
    selection's effective ratio, which is what tables show, says what came of it. The pattern is shifted
    cyclically, so that every phase keeps the same number of patches on odd grids too.

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
        pattern, k = nearest_pattern(view.grid, 1.0 - self.mask_ratio)
        row = torch.arange(rows, device=view.device)[None, :, None].expand(view.batch_size, -1, -1)
        col = torch.arange(cols, device=view.device)[None, None, :].expand(view.batch_size, -1, -1)
        if self.phase == "random":
            uniform = torch.rand(view.batch_size, 2, generator=generator, device=view.device)
            row = (row + (uniform[:, :1, None] * rows).long()) % rows
            col = (col + (uniform[:, 1:, None] * cols).long()) % cols
        shown = pattern.shown(row, col).flatten(1)
        # A stable sort brings the shown patches to the front without changing their order.
        return Selection(shown.int().argsort(dim=1, descending=True, stable=True)[:, :k])


class Cells(NamedTuple):
    """One patch of each cell of `side` x `side` patches, or all but that one."""

    side: int
    top: int
    left: int
    all_but_one: bool

    @property
    def period(self) -> int:
        """Patches of a cell."""
        return self.side**2

    def shown(self, row: Tensor, col: Tensor) -> Tensor:
        """Return which patches are shown, as bool."""
        return ((row % self.side == self.top) & (col % self.side == self.left)) ^ self.all_but_one

    def count(self, grid: tuple[int, int]) -> int:
        """Return how many patches of a grid are shown."""
        rows, cols = grid
        ones = len(range(self.top, rows, self.side)) * len(range(self.left, cols, self.side))
        return rows * cols - ones if self.all_but_one else ones


class Lattice(NamedTuple):
    """Patches whose residue ``(col + step * row + start) mod period`` is one of `kept` spread evenly."""

    kept: int
    period: int
    start: int

    def shown(self, row: Tensor, col: Tensor) -> Tensor:
        """Return which patches are shown, as bool."""
        residue = (col + _step(self.period) * row + self.start) % self.period
        return (residue * self.kept) % self.period < self.kept

    def count(self, grid: tuple[int, int]) -> int:
        """Return how many patches of a grid are shown."""
        found = _residues(grid, self.period)
        shown = [residue for residue in range(self.period) if residue * self.kept % self.period < self.kept]
        return sum(found[(residue - self.start) % self.period] for residue in shown)


# Found outside of a compiled graph: which pattern it is depends on nothing but these two constants.
@torch.compiler.assume_constant_result  # type: ignore[untyped-decorator]  # torch's
def nearest_pattern(grid: tuple[int, int], share: float) -> tuple[Cells | Lattice, int]:
    """Return the pattern that shows nearest to `share` of a grid, and how many patches it shows.

    At least one is shown. Of patterns that are equally near the simplest is taken: the one with the
    shortest period, cells before lattices.
    """
    return _nearest_pattern(grid, share)


@cache
def _nearest_pattern(grid: tuple[int, int], share: float) -> tuple[Cells | Lattice, int]:
    wanted = share * grid[0] * grid[1]
    counted = [(pattern, pattern.count(grid)) for pattern in patterns()]
    return min(
        ((pattern, count) for pattern, count in counted if count),
        # Rounded, so that shares that are equal but for their last bit count as equal.
        key=lambda found: (round(abs(found[1] - wanted), 6), found[0].period),
    )


def patterns() -> Iterator[Cells | Lattice]:
    """Yield every pattern there is; it matters where one begins, as few fill a grid evenly."""
    for side in range(2, LONGEST_PERIOD + 1):
        for top, left, all_but_one in product((0, side - 1), (0, side - 1), (False, True)):
            yield Cells(side, top, left, all_but_one)
    for period in range(2, LONGEST_PERIOD + 1):
        for kept, start in product(range(1, period), range(period)):
            yield Lattice(kept, period, start)


@cache
def _residues(grid: tuple[int, int], period: int) -> list[int]:
    # How many patches have each residue ``(col + step * row) mod period``.
    step = _step(period)
    found = Counter((col + step * row) % period for row, col in product(*map(range, grid)))
    return [found[residue] for residue in range(period)]


def _step(period: int) -> int:
    # The step that sets equal residues of neighbouring rows farthest apart; it shares no factor with the
    # period, so that every row and every column is treated alike.
    steps = [step for step in range(1, period) if gcd(step, period) == 1]
    return max(steps, key=lambda step: min(_distance(step * rows % period, period, rows) for rows in (1, 2)))


def _distance(shift: int, period: int, rows: int) -> float:
    return float(min(shift, period - shift) ** 2 + rows**2)
