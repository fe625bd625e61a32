"""Masks that look at nothing: none, uniformly random ones, and FLIP's, which are random ones."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from pgsbench.masking.base import Need, PatchView, Selection, check_ratio, keep_all, num_kept
from pgsbench.masking.noise import Draws


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
