"""Rectangles of patches, removed whole."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import torch

from pgsbench.masking.base import (
    Need,
    PatchView,
    Selection,
    check_range,
    check_ratio,
    keep_all,
    num_kept,
)
from pgsbench.masking.noise import Draws
from pgsbench.masking.ops import order_ascending


@dataclass(frozen=True)
class Block:
    """Random rectangles of patches are dropped: a structured control.

    The blockwise masking of BEiT (arXiv 2106.08254, algorithm 1). Deviation: BEiT adds rectangles until
    enough patches are covered, one picture at a time; here `blocks` rectangles of random place and shape
    grow together until exactly the wanted number is covered, which needs no loop. The last ring of a
    rectangle may be incomplete, and rectangles may overlap and reach over the border.

    Args:
        mask_ratio: Share of the patches that is dropped; ``floor(n (1 - mask_ratio))`` stay.
        blocks: Rectangles in each picture.
        max_aspect: Longest side over the shorter one; shapes are log-uniform up to it.
    """

    mask_ratio: float = 0.5
    blocks: int = 1
    max_aspect: float = 3.0
    needs: ClassVar[frozenset[Need]] = frozenset()

    def __post_init__(self) -> None:
        check_ratio("mask_ratio", self.mask_ratio)
        check_range("blocks", self.blocks, 1, 1000)
        check_range("max_aspect", self.max_aspect, 1.0, 1000.0)

    def select(self, view: PatchView, *, draws: Draws) -> Selection:
        """Drop the patches nearest to the middle of a rectangle, measured in its own proportions."""
        if self.mask_ratio == 0:
            return keep_all(view)
        rows, cols = view.grid
        top, left, stretch = draws.uniform(3, self.blocks, 1, 1).unbind(dim=1)
        half_aspect = torch.exp((stretch - 0.5) * math.log(self.max_aspect))
        row = torch.arange(rows, device=view.device).view(1, 1, rows, 1)
        col = torch.arange(cols, device=view.device).view(1, 1, 1, cols)
        down = (row + 0.5 - top * rows).abs() * half_aspect
        across = (col + 0.5 - left * cols).abs() / half_aspect
        # Level sets of this distance are rectangles; their union grows as the level rises.
        distance = torch.maximum(down, across).amin(dim=1).flatten(1)
        order = order_ascending(-distance, draws=draws)
        return Selection(order[:, : num_kept(view.num_patches, self.mask_ratio)].sort(dim=1).values)
