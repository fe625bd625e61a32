"""Uniformly random masks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from pgsbench.masking.base import Need, PatchView, Selection, check_ratio, keep_all, num_kept
from pgsbench.masking.noise import Draws


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
