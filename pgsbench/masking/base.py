"""What a masking strategy sees, what it answers, and what it is.

A strategy is a frozen dataclass. Its fields are its configuration: a study file sets them by name, a
sweep can search every one of them, and ``__post_init__`` checks their ranges. It learns nothing and
keeps no state, so one object serves a whole training and can be shared by processes.

Most strategies choose patches and nothing else. Three things more can be said, each by who needs it: a
`Selection` may hold several views of a picture and may say which kept token absorbs a dropped patch
(`into`); a `Resampler` wants the whole picture at another size; a `Fuser` merges tokens between the blocks
of the tower.

Shape letters: b batch, n patches, k kept patches, v views, d width, c channels, h and w pixels.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, Literal, Protocol, get_args, runtime_checkable

import torch
from torch import Tensor

from pgsbench.masking.noise import Draws

Need = Literal["images", "tokens", "attention", "objects"]


@dataclass(frozen=True)
class PatchView:
    """All that a strategy may look at for one batch. What no strategy `needs` is None.

    Attributes:
        grid: (rows, cols) of the patch grid; ``n = rows * cols``.
        patch_size: (height, width) of a patch in pixels.
        batch_size: Number of images b.
        device: Where the selection is wanted.
        progress: Share of the training that is done, in [0, 1].
        images: (b, c, h, w) normalised pictures, ``h = rows * patch height``.
        tokens: (b, n, d) patch embeddings after the position code, detached, without class token.
        position: (n, d) the position code within `tokens`, or None where the model has none.
        attention: (b, n) float32, attention that the class token of a moving average of the image tower pays
            to each patch of the whole picture, mean over layers and heads; rows sum to at most 1.
        objects: (b, n) share of each patch that shows an object, in [0, 1], where the data knows it.
    """

    grid: tuple[int, int]
    patch_size: tuple[int, int]
    batch_size: int
    device: torch.device
    progress: float = 0.0
    images: Tensor | None = None
    tokens: Tensor | None = None
    position: Tensor | None = None
    attention: Tensor | None = None
    objects: Tensor | None = None

    @property
    def num_patches(self) -> int:
        """Number of patches n."""
        return self.grid[0] * self.grid[1]

    def limited_to(self, needs: frozenset[Need]) -> PatchView:
        """Return this view without what `needs` does not name: what training shows such a strategy."""
        hidden: dict[str, Any] = {need: None for need in get_args(Need) if need not in needs}
        if "tokens" in hidden:
            hidden["position"] = None
        return replace(self, **hidden)

    def content(self) -> Tensor:
        """Return the tokens (b, n, d) float32 without their position code: what a patch shows alone."""
        assert self.tokens is not None
        tokens = self.tokens.float()
        return tokens if self.position is None else tokens - self.position.float()


def view_of(
    images: Tensor,
    patch_size: tuple[int, int],
    *,
    objects: Tensor | None = None,
    progress: float = 0.0,
) -> PatchView:
    """Return the view of pictures alone, without a model: what a strategy sees before training begins.

    Tokens are zero; strategies let them count only as training goes on.

    Args:
        images: (b, c, h, w) normalised pictures of whole patches.
        patch_size: (height, width) of a patch in pixels.
        objects: (b, n) share of each patch that shows an object, where it is known.
        progress: Share of the training that is done, in [0, 1].
    """
    b, _, h, w = images.shape
    grid = (h // patch_size[0], w // patch_size[1])
    tokens = torch.zeros(b, grid[0] * grid[1], 1, device=images.device)
    return PatchView(
        grid, patch_size, b, images.device, progress, images=images, tokens=tokens, objects=objects
    )


@dataclass(frozen=True)
class Selection:
    """Which patches are kept, and what becomes of the others.

    Attributes:
        keep: (b, k) int64 indices of kept patches, strictly ascending in each row; k is the same for all.
            With several views of each picture (v, b, k).
        visible: Bool in the shape of `keep`, or None where all are visible. False marks a patch that is
            carried along only to keep the batch rectangular: it must have no influence on any output.
        into: (b, n) or (v, b, n) int64, or None: the column of `keep` whose token absorbs each patch, -1
            for one that is thrown away. A shown patch absorbs itself. A token that absorbs others becomes
            their mean, and attention counts it as often as it has absorbed patches (Token Merging,
            arXiv 2210.09461, "proportional attention").
        diagnostics: Named scalars (0-d tensors) worth logging, for example the residual of OTN.
    """

    keep: Tensor
    visible: Tensor | None = None
    diagnostics: Mapping[str, Tensor] = field(default_factory=dict)
    into: Tensor | None = None

    @property
    def num_views(self) -> int:
        """Number of views v of each picture."""
        return 1 if self.keep.ndim == 2 else self.keep.shape[0]

    def view(self, number: int) -> Selection:
        """Return one view alone, with `keep` of shape (b, k)."""
        if self.keep.ndim == 2:
            return self
        visible = None if self.visible is None else self.visible[number]
        into = None if self.into is None else self.into[number]
        return Selection(self.keep[number], visible, self.diagnostics, into)

    def shown(self, num_patches: int) -> Tensor:
        """Return (b, n) bool: which patches have an influence in any view, alone or within a merged token."""
        one = [self.view(number) for number in range(self.num_views)]
        return torch.stack([each._shown(num_patches) for each in one]).any(dim=0)

    def effective_ratio(self, num_patches: int) -> Tensor:
        """Return the share of patches without influence, mean over the views, as a 0-d float tensor."""
        if self.into is not None:
            absent = [~self.view(number)._shown(num_patches) for number in range(self.num_views)]
            return torch.stack(absent).float().mean()
        if self.visible is None:
            return torch.full((), 1.0 - self.keep.shape[-1] / num_patches, device=self.keep.device)
        rows = self.keep.numel() // self.keep.shape[-1]
        return 1.0 - self.visible.sum() / (rows * num_patches)

    def _shown(self, num_patches: int) -> Tensor:
        visible = torch.ones_like(self.keep, dtype=torch.bool) if self.visible is None else self.visible
        if self.into is not None:
            return visible.gather(1, self.into.clamp_min(0)) & (self.into >= 0)
        nothing = torch.zeros(len(self.keep), num_patches, dtype=torch.bool, device=self.keep.device)
        return nothing.scatter(1, self.keep, visible)


@runtime_checkable
class Strategy(Protocol):
    """A masking strategy: a frozen dataclass with these class attributes and one pure method.

    Every strategy obeys the rules that `pgsbench.masking.testing.StrategyContract` tests.
    """

    needs: ClassVar[frozenset[Need]]

    @property
    def mask_ratio(self) -> float:
        """Requested share of patches to mask, in [0, 1); 0 keeps all and draws no random number."""

    def select(self, view: PatchView, *, draws: Draws) -> Selection:
        """Choose the patches to keep. The tower calls it under `torch.no_grad` with autocast off.

        What comes back carries no gradient, whoever calls. On a GPU it should not wait for the host: no
        built-in does, but for `pgs-released`, as published.

        Args:
            view: The batch; what the strategy `needs` is there.
            draws: The only source of randomness: ``draws.uniform(n)`` gives (b, n) numbers in [0, 1) on
                ``view.device``, each row a function of its picture's place in the training.
        """


@runtime_checkable
class Resampler(Strategy, Protocol):
    """A strategy that wants the whole picture at another size; `select` then sees that size's grid."""

    def grid_for(self, grid: tuple[int, int]) -> tuple[int, int]:
        """Return the (rows, cols) of patches that a picture of `grid` patches is resampled to."""


@dataclass(frozen=True)
class BlockView:
    """What a `Fuser` sees before one block of the tower.

    Attributes:
        depth: Number of the block, counted from 0.
        num_blocks: Blocks of the tower.
        num_patches: Patch tokens n that entered the first block.
        keys: (b, m, d) keys of the m patch tokens in this block's attention, mean over the heads.
        sizes: (b, m) how many patches each token stands for.
    """

    depth: int
    num_blocks: int
    num_patches: int
    keys: Tensor
    sizes: Tensor


@runtime_checkable
class Fuser(Strategy, Protocol):
    """A strategy that merges patch tokens between the blocks of the tower."""

    def fuse(self, view: BlockView) -> Tensor | None:
        """Return (b, m) int64: the token of the shorter row, counted from 0, that absorbs each token.

        Every token of the shorter row absorbs at least one. None leaves the row as it is. No random number
        is drawn: a block that is run again for its gradient must merge alike.
        """

    def token_counts(self, num_patches: int, num_blocks: int) -> tuple[int, ...]:
        """Return the number of patch tokens in each block."""


def keep_all(view: PatchView) -> Selection:
    """Return the selection that keeps every patch of every image."""
    return Selection(torch.arange(view.num_patches, device=view.device).repeat(view.batch_size, 1))


def num_kept(num_patches: int, mask_ratio: float) -> int:
    """Return how many of `num_patches` stay at `mask_ratio`: floor(n (1 - r)), and at least one."""
    # Without the tolerance 10 * (1 - 0.7) = 3.0000000000000004 is fine, but 10 * (1 - 0.9) floors to 0.
    return max(1, math.floor(num_patches * (1.0 - mask_ratio) + 1e-9))


def check_ratio(name: str, value: float) -> None:
    """Raise ValueError unless ``0 <= value < 1``."""
    if not 0.0 <= value < 1.0:
        raise ValueError(f"{name} must be in [0, 1): the share of patches that is masked, not {value!r}")


def check_range(name: str, value: float, low: float, high: float = math.inf) -> None:
    """Raise ValueError unless `value` is finite and ``low <= value <= high``."""
    if not math.isfinite(value):
        raise ValueError(f"{name} must be a finite number, not {value!r}")
    if not low <= value <= high:
        limits = f"at least {low:g}" if value < low else f"between {low:g} and {high:g}"
        raise ValueError(f"{name} must be {limits}, not {value!r}")
