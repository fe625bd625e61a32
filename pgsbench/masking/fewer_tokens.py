"""Whole pictures in fewer tokens: at a smaller size, or merged between the blocks of the tower."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from pgsbench.masking.base import BlockView, Need, PatchView, Selection, check_ratio, keep_all
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


@dataclass(frozen=True)
class Tome:
    """Token Merging: all patches enter, and the most alike tokens merge before every further block.

    "Token Merging: Your ViT But Faster" (arXiv 2210.09461, section 3), which is also used while training
    (section 4.3). Tokens alternate into sets A and B. Each of A finds the one of B whose key, mean over the
    heads, has the largest cosine with its own; the r most alike pairs merge into their mean, weighted by how
    many patches each token stands for; attention counts a token as often. The class token never merges.

    r is the same before every block, but never more than half of the tokens: the smallest r at which the mean
    number of patch tokens over the blocks is at most ``n (1 - mask_ratio)``.

    Deviations: the paper merges within a block, between attention and MLP, by the keys of that very
    attention; here tokens merge before a block, by the keys that it is about to compute, and the first block
    sees all. Merging stops with the training: evaluation sees whole pictures. Which tokens merge agrees with
    the published code where both are given the same keys.

    Args:
        mask_ratio: Share of the tokens that is saved, mean over the blocks.
    """

    mask_ratio: float = 0.5
    needs: ClassVar[frozenset[Need]] = frozenset()

    def __post_init__(self) -> None:
        check_ratio("mask_ratio", self.mask_ratio)

    def select(self, view: PatchView, *, draws: Draws) -> Selection:
        """Let every patch enter."""
        del draws
        return keep_all(view)

    def token_counts(self, num_patches: int, num_blocks: int) -> tuple[int, ...]:
        """Return the number of patch tokens in each block."""
        return _schedule(self.mask_ratio, num_patches, num_blocks)

    @torch.no_grad()
    def fuse(self, view: BlockView) -> Tensor | None:
        """Merge the most alike pairs."""
        counts = self.token_counts(view.num_patches, view.num_blocks)
        merged = counts[max(0, view.depth - 1)] - counts[view.depth]
        return bipartite_merge(view.keys, merged) if merged else None


@cache  # asked for before every block of every step
def _schedule(mask_ratio: float, num_patches: int, num_blocks: int) -> tuple[int, ...]:
    budget = num_patches * (1.0 - mask_ratio) * num_blocks
    for merged in range(num_patches // 2 + 1):
        counts = _counts(num_patches, num_blocks, merged)
        if sum(counts) <= budget + 1e-9:
            break
    return counts


def _counts(num_patches: int, num_blocks: int, merged: int) -> tuple[int, ...]:
    counts = [num_patches]
    while len(counts) < num_blocks:
        counts.append(counts[-1] - min(merged, counts[-1] // 2))
    return tuple(counts)


def bipartite_merge(keys: Tensor, count: int) -> Tensor:
    """Return (b, m) int64: where each of m tokens goes when the `count` most alike pairs merge.

    The class token, which is not among them, is the first of set A in the published code. So tokens at odd
    places, counted from 0, are the rest of A and may go to one at an even place, in B. In the new row those
    of A that stay come first, as there, so that the sets of the next merge are the same, too.

    Args:
        keys: (b, m, d), compared by their cosine.
        count: Pairs that merge, at most ``m // 2``.
    """
    unit = F.normalize(keys.float(), dim=2)
    a, b = unit[:, 1::2], unit[:, ::2]
    likeness, partner = (a @ b.transpose(1, 2)).max(dim=2)
    leaving = likeness.topk(count, dim=1).indices
    stays = torch.ones(a.shape[:2], dtype=torch.bool, device=keys.device).scatter(1, leaving, False)
    column = torch.empty(keys.shape[:2], dtype=torch.int64, device=keys.device)
    column[:, ::2] = torch.arange(b.shape[1], device=keys.device) + a.shape[1] - count
    column[:, 1::2] = torch.where(stays, stays.long().cumsum(dim=1) - 1, partner + a.shape[1] - count)
    return column
