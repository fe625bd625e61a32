"""Which of a picture's strongest edges masks keep, the published CLIP-PGS code with and without its slips.

Keeping edges is no evidence of quality. Shape letters: b pictures, n patches.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor

from pgsbench.masking.base import PatchView, Strategy
from pgsbench.masking.cluster import Cluster
from pgsbench.masking.edges import edge_map
from pgsbench.masking.measure import overlap, top_edges_kept
from pgsbench.masking.pgs import Pgs
from pgsbench.masking.pgs_released import (
    PgsReleased,
    edge_of_roundoff,
    oscillating_normalisation,
    z_scored_patches,
)
from pgsbench.masking.random import Random

#: Masks are drawn under so many seeds, and each is compared with the next.
NUM_SEEDS = 4


@dataclass(frozen=True)
class Repaired(PgsReleased):
    """The published code with one or both slips of its edge detection repaired, before tokens count.

    Args:
        mask_ratio: As of `PgsReleased`, and so the fields that follow it.
        true_map: Whether the edge map shows the patches' Sobel edges instead of round-off.
        lowest: Whether the patches with the lowest values become candidates instead of the highest.
    """

    true_map: bool = False
    lowest: bool = False

    def masked(
        self, view: PatchView, *, generator: torch.Generator, dtype: torch.dtype = torch.float32
    ) -> tuple[Tensor, Tensor | None]:
        """Return which patches (b, n) are masked, True, and the edge map (b, n)."""
        assert view.images is not None
        n = view.num_patches
        patches = z_scored_patches(view, dtype)
        unit = F.normalize(patches, dim=2)
        similarity = unit @ unit.transpose(1, 2)
        similarity = similarity + oscillating_normalisation(similarity)
        edge = edge_of_roundoff(patches, view.grid)
        if self.true_map:
            edge = edge_map(view.images, view.patch_size, operator="sobel")
        noise = torch.rand(view.batch_size, n, generator=generator, device=view.device)
        order = (noise + 1e6 * (1.0 - edge if self.lowest else edge)).argsort(dim=1)
        candidates = order[:, math.floor((1.0 - self.candidate_share) * n) :]
        rows = similarity.gather(1, candidates[:, :, None].expand(-1, -1, n))
        return (rows > self.target).any(dim=1), edge


def retention(
    view: PatchView, strategies: Mapping[str, Strategy], *, seed: int = 0
) -> dict[str, tuple[float, float]]:
    """Return by strategy the share of top-edge patches it keeps, and the overlap (IoU) of two seeds.

    Both are means over pictures and seeds.
    """
    assert view.images is not None
    found = {}
    for name, strategy in strategies.items():
        shown = [
            strategy.select(view, generator=torch.Generator(view.device).manual_seed(number)).shown(
                view.num_patches
            )
            for number in range(seed, seed + NUM_SEEDS)
        ]
        kept = torch.stack([top_edges_kept(view.images, view.patch_size, one) for one in shown])
        alike = torch.stack([overlap(one, two) for one, two in pairwise(shown)])
        found[name] = (float(kept.mean()), float(alike.mean()))
    return found


def compared(mask_ratio: float) -> dict[str, Strategy]:
    """Return the strategies whose retention is compared."""
    return {
        "random": Random(mask_ratio),
        "cluster": Cluster(mask_ratio),
        "pgs-released": PgsReleased(mask_ratio),
        "pgs-released, true edge map": Repaired(mask_ratio, true_map=True),
        "pgs-released, candidates lowest": Repaired(mask_ratio, lowest=True),
        "pgs-released, both": Repaired(mask_ratio, true_map=True, lowest=True),
        "pgs": Pgs(mask_ratio),
        "pgs without OTN": Pgs(mask_ratio, otn=False),
    }
