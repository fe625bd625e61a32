"""Random patches, more of them from the middle of the picture."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

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
