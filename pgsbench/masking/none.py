"""No mask: every patch is kept."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch

from pgsbench.masking.base import Need, PatchView, Selection, keep_all


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

    def select(self, view: PatchView, *, generator: torch.Generator) -> Selection:
        """Keep all patches; no random number is drawn."""
        return keep_all(view)
