"""Several masks of one picture in one step."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch

from pgsbench.masking.base import PatchView, Selection
from pgsbench.masking.noise import Draws
from pgsbench.masking.token_counts import patch_tokens
from pgsbench.masking.wrapped import Wrapped


@dataclass(frozen=True)
class ManyViews(Wrapped):
    """How many masks of a picture each meet its caption in a step; 1: one.

    A-CLIP (arXiv 2212.08653, section 3.3) trains on two views of half of the patches. The tower sees each
    view as a picture of its own; the contrastive loss is computed for each and averaged; texts are encoded
    once. Two views of one half cost about as much as the whole picture.

    Deviation: all views have the same crop, and there is no loss between views (A-CLIP adds SimCLR's).

    Set ``strategy.views: 2`` in a study; this class is what that makes.

    Args:
        strategy: Chooses the patches of each view; draws anew for each.
        views: How many.
    """

    option: ClassVar[str] = "views"
    views: int

    def __post_init__(self) -> None:
        super().__post_init__()
        if type(self.views) is not int or not 2 <= self.views <= 64:
            raise ValueError(f"views must be a whole number from 2 to 64, not {self.views!r}")

    def num_tokens(self, grid: tuple[int, int]) -> int:
        """Return the patch tokens of one view."""
        return patch_tokens(self.strategy, grid)

    def select(self, view: PatchView, *, draws: Draws) -> Selection:
        """Stack what the strategy selects, one draw after another."""
        chosen = [self.strategy.select(view, draws=draws) for _ in range(self.views)]
        # Only a published method whose length depends on what it draws has views of different lengths.
        shortest = min(one.keep.shape[1] for one in chosen)
        visible, into = ([getattr(one, name) for one in chosen] for name in ("visible", "into"))
        return Selection(
            torch.stack([one.keep[:, :shortest] for one in chosen]),
            None if visible[0] is None else torch.stack([each[:, :shortest] for each in visible]),
            chosen[0].diagnostics,
            None if into[0] is None else torch.stack(into),
        )
