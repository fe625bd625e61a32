"""What any strategy can do besides choosing patches: merge what is dropped, show several views."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch

from pgsbench.masking.base import Fuser, Need, PatchView, Resampler, Selection, Strategy
from pgsbench.masking.noise import Draws
from pgsbench.masking.ops import patchify
from pgsbench.masking.token_counts import patch_tokens


@dataclass(frozen=True)
class Wrapped:
    """A strategy that does more with what another one selects.

    Args:
        strategy: Chooses the patches.
    """

    option: ClassVar[str]  # its key in a study
    strategy: Strategy

    def __post_init__(self) -> None:
        if isinstance(self.strategy, Resampler | Fuser):
            name = type(self.strategy).__name__
            raise ValueError(f"{self.option} goes with strategies that drop patches, and {name} keeps all")

    @property
    def needs(self) -> frozenset[Need]:
        """What the strategy needs."""
        return self.strategy.needs

    @property
    def mask_ratio(self) -> float:
        """Share of the patches that the strategy drops."""
        return self.strategy.mask_ratio

    def num_tokens(self, grid: tuple[int, int]) -> int:
        """Return the patch tokens that enter the tower, of one view."""
        return patch_tokens(self.strategy, grid)

    @property
    def ema_momentum(self) -> float:
        """That of the strategy, where it has one."""
        momentum: float = getattr(self.strategy, "ema_momentum")  # noqa: B009  # only some strategies have it
        return momentum


@dataclass(frozen=True)
class Merged(Wrapped):
    """nearest: dropped patches are averaged into kept tokens instead of thrown away; null: not.

    Each joins the kept patch whose pixels are nearest (smallest squared distance), so that the mean loses
    least. Attention counts a token as often as it has absorbed patches (arXiv 2210.09461, section 3,
    "proportional attention"); what is averaged are the embeddings with their position code.

    Set ``strategy.merge: nearest`` in a study; this class is what that makes.

    Args:
        strategy: Chooses the patches that are kept.
        merge: Where the others go.
    """

    option: ClassVar[str] = "merge"
    merge: str = "nearest"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.merge != "nearest":
            raise ValueError(f"merge must be nearest or null, not {self.merge!r}")

    @property
    def needs(self) -> frozenset[Need]:
        """What the strategy needs, and pictures to compare patches."""
        return self.strategy.needs | {"images"}

    @torch.no_grad()
    def select(self, view: PatchView, *, draws: Draws) -> Selection:
        """Let the strategy choose, and say where each patch goes that it does not show."""
        chosen = self.strategy.select(view, draws=draws)
        if chosen.keep.shape[1] == view.num_patches:
            return chosen
        assert view.images is not None
        patches = patchify(view.images.float(), view.patch_size)
        kept = patches.gather(1, chosen.keep[:, :, None].expand(-1, -1, patches.shape[2]))
        distance = torch.cdist(patches, kept)  # (b, n, k)
        if chosen.visible is not None:
            distance = distance.masked_fill(~chosen.visible[:, None, :], torch.inf)
        # Patches that are shown go nowhere but to their own columns.
        columns = torch.arange(chosen.keep.shape[1], device=view.device).expand_as(chosen.keep)
        nearest = distance.argmin(dim=2)
        own = torch.zeros_like(nearest).scatter(1, chosen.keep, columns)
        into = torch.where(chosen.shown(view.num_patches), own, nearest)
        return Selection(chosen.keep, chosen.visible, chosen.diagnostics, into)


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
