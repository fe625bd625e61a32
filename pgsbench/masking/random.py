"""Masks that look at nothing: none, uniformly random ones, FLIP's, centred ones and rectangles."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from pgsbench.masking.base import Need, PatchView, Selection, check_range, check_ratio, keep_all, num_kept
from pgsbench.masking.noise import Draws
from pgsbench.masking.ops import keep_lowest


@dataclass(frozen=True)
class NoMask:
    """Every patch is kept: plain CLIP.

    The reference of every comparison (CLIP, arXiv 2103.00020).
    """

    needs: ClassVar[frozenset[Need]] = frozenset()

    @property
    def mask_ratio(self) -> float:
        """Nothing is masked."""
        return 0.0

    def select(self, view: PatchView, *, draws: Draws) -> Selection:
        """Keep all patches; no random number is drawn."""
        return keep_all(view)


@dataclass(frozen=True)
class Random:
    """Patches are kept uniformly at random.

    PatchDropout (arXiv 2208.07220). The same distribution as open_clip's own ``patch_dropout``, which
    leaves the kept patches unordered; here the indices ascend.

    Args:
        mask_ratio: Share of the patches that is dropped; ``floor(n (1 - mask_ratio))`` stay.
    """

    mask_ratio: float = 0.5
    needs: ClassVar[frozenset[Need]] = frozenset()

    def __post_init__(self) -> None:
        check_ratio("mask_ratio", self.mask_ratio)

    def select(self, view: PatchView, *, draws: Draws) -> Selection:
        """Keep the patches with the smallest of n uniform numbers."""
        if self.mask_ratio == 0:
            return keep_all(view)
        n = view.num_patches
        noise = draws.uniform(n)
        chosen = noise.topk(num_kept(n, self.mask_ratio), largest=False, sorted=False).indices
        return Selection(chosen.sort(dim=1).values)


@dataclass(frozen=True)
class Flip(Random):
    """FLIP: half of the patches at random, meant to be followed by unmasked tuning.

    "Scaling Language-Image Pre-training via Masking" (arXiv 2212.00794), section 3. The mask itself is
    `Random`; the paper also trains at 0.75. What makes it FLIP are two settings of the training that any
    strategy can have, so they are not hidden in here:

    * ``training.unmasked_tuning``: a last phase without mask at a much smaller learning rate. The paper
      uses about 0.3 of 32 epochs at one hundredth of the base rate.
    * ``training.batch_size``: the paper spends the freed memory on a batch 2x (0.5) or 4x (0.75) larger.
    """


@dataclass(frozen=True)
class Centred:
    """GLIP: random patches, the more the nearer to the centre, where photographers put things.

    "Centered Masking for Language-Image Pre-Training" (arXiv 2403.15837), Gaussian masking, by the formula of
    its published code. With patch centres at equal distances from -1 to 1 in both directions, a patch at
    (x, y) is drawn with the score ``u - (1 - p(x, y))``, u uniform in [0, 1), p the density of a normal
    distribution with mean 0 and covariance `spread` times the identity; the highest scores stay.

    Deviation: none known; the code calls `spread` a standard deviation, but uses it as a variance.

    Args:
        mask_ratio: Share of the patches that is dropped; ``floor(n (1 - mask_ratio))`` stay.
        spread: Variance in each direction; the authors tried 0.1 to 0.8.
    """

    mask_ratio: float = 0.5
    spread: float = 0.2
    needs: ClassVar[frozenset[Need]] = frozenset()

    def __post_init__(self) -> None:
        check_ratio("mask_ratio", self.mask_ratio)
        check_range("spread", self.spread, 0.01, 100.0)

    @torch.no_grad()
    def select(self, view: PatchView, *, draws: Draws) -> Selection:
        """Keep the patches with the highest sum of noise and density."""
        if self.mask_ratio == 0:
            return keep_all(view)
        n = view.num_patches
        noise = draws.uniform(n)
        chosen = (noise + density(view.grid, self.spread, view.device)).topk(num_kept(n, self.mask_ratio))
        return Selection(chosen.indices.sort(dim=1).values)


def density(grid: tuple[int, int], variance: float, device: torch.device | str = "cpu") -> Tensor:
    """Return (n,) the density of a centred normal distribution on [-1, 1]^2 at the patches of a grid."""
    y, x = (torch.linspace(-1, 1, side, device=device) * (side > 1) for side in grid)  # one alone is central
    squares = y[:, None].square() + x[None, :].square()
    return (torch.exp(-squares / (2 * variance)) / (2 * torch.pi * variance)).flatten()


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
        return keep_lowest(-distance, self.mask_ratio, draws=draws)
