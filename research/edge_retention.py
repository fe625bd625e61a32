"""Which of a picture's strongest edges masks keep, the published CLIP-PGS code with and without its slips.

Keeping edges is no evidence of quality. Shape letters: b pictures, n patches.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor

from pgsbench.masking.base import PatchView, Strategy
from pgsbench.masking.coverage import overlap, top_edges_kept
from pgsbench.masking.edges import edge_map
from pgsbench.masking.guided import Cluster
from pgsbench.masking.noise import Draws
from pgsbench.masking.pgs import Pgs
from pgsbench.masking.pgs_released import PgsReleased
from pgsbench.masking.random import Random

#: Number of seeds that masks are drawn under; the masks of each are compared with those of the next.
NUM_SEEDS = 4


@dataclass(frozen=True)
class Repaired(PgsReleased):
    """The published code with one or both slips of its edge detection repaired.

    Args:
        mask_ratio: As of `PgsReleased`, and so the fields that follow it.
        true_map: Whether the edge map shows the patches' Sobel edges instead of round-off.
        lowest: Whether the patches with the lowest values become candidates instead of the highest.
    """

    true_map: bool = False
    lowest: bool = False

    def edge_strength(self, view: PatchView, patches: Tensor) -> Tensor:
        """Return the edge map (b, n)."""
        if not self.true_map:
            return super().edge_strength(view, patches)
        assert view.images is not None
        return edge_map(view.images, view.patch_size, operator="sobel")

    def preference(self, edge: Tensor) -> Tensor:
        """Return how much each patch (b, n) is wanted as a candidate."""
        return 1.0 - edge if self.lowest else edge


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
            strategy.select(
                view, draws=Draws.of_batch(view.batch_size, seed=number, device=view.device)
            ).shown(view.num_patches)
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
