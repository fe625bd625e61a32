"""No mask: every patch is kept."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from pgsbench.masking.base import Need, PatchView, Selection, keep_all
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
