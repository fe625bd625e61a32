"""How many tokens a picture costs under a strategy, known before anything runs."""

from __future__ import annotations

from dataclasses import dataclass

from pgsbench.masking.base import Fuser, Resampler, Strategy, num_kept


@dataclass(frozen=True)
class TokenCount:
    """The patch tokens of one picture in a training step.

    Attributes:
        per_block: In each block of the tower, of one view.
        views: Rows of tokens that one picture becomes.
        embedded: Patches that are cut out and embedded before any is dropped.
        watched: Whether a second tower sees the whole picture, without gradient (A-CLIP's moving average).
    """

    per_block: tuple[int, ...]
    views: int
    embedded: int
    watched: bool = False

    @property
    def mean(self) -> float:
        """Over all views, mean over the blocks."""
        return self.views * sum(self.per_block) / len(self.per_block)


def token_count(strategy: Strategy, grid: tuple[int, int], num_blocks: int) -> TokenCount:
    """Return what a picture of a grid of patches costs in a tower of `num_blocks` blocks.

    For `pgs-released`, whose length depends on the batch, it is the most that it can be.
    """
    if isinstance(strategy, Resampler):
        return whole(strategy.grid_for(grid), num_blocks)
    n = grid[0] * grid[1]
    if isinstance(strategy, Fuser):
        per_block = strategy.token_counts(n, num_blocks)
    else:
        per_block = (patch_tokens(strategy, grid),) * num_blocks
    views: int = getattr(strategy, "views", 1)
    return TokenCount(per_block, views, n, watched="attention" in strategy.needs)


def whole(grid: tuple[int, int], num_blocks: int) -> TokenCount:
    """Return what a picture costs all of whose patches go through all blocks."""
    n = grid[0] * grid[1]
    return TokenCount((n,) * num_blocks, 1, n)


def patch_tokens(strategy: Strategy, grid: tuple[int, int]) -> int:
    """Return the patch tokens of one view that enter the tower.

    That is ``floor(n (1 - mask_ratio))``, unless the strategy has a method ``num_tokens(grid)``.
    """
    own = getattr(strategy, "num_tokens", None)
    count: int = own(grid) if own else num_kept(grid[0] * grid[1], strategy.mask_ratio)
    return count
