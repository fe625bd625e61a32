"""The control that knows where the objects are."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch

from pgsbench.masking.base import Need, PatchView, Selection, check_ratio, keep_all, num_kept
from pgsbench.masking.noise import Draws
from pgsbench.masking.ops import order_ascending


@dataclass(frozen=True)
class Oracle:
    """Patches that show an object first, the rest at random: the ceiling of masks that keep objects.

    Not a method but a control: it reads the object masks that generated data carries, which no mask in
    the field can. How much of the way from `Random` to it a mask goes is the figure to look at. Where
    more patches show an object than may stay, a random subset of them stays.

    Args:
        mask_ratio: Share of the patches that is dropped; ``floor(n (1 - mask_ratio))`` stay.
    """

    mask_ratio: float = 0.5
    needs: ClassVar[frozenset[Need]] = frozenset({"objects"})

    def __post_init__(self) -> None:
        check_ratio("mask_ratio", self.mask_ratio)

    @torch.no_grad()
    def select(self, view: PatchView, *, draws: Draws) -> Selection:
        """Keep object patches before others, at random among equals."""
        if self.mask_ratio == 0:
            return keep_all(view)
        assert view.objects is not None
        background = (view.objects <= 0).float()
        order = order_ascending(background, draws=draws)
        return Selection(order[:, : num_kept(view.num_patches, self.mask_ratio)].sort(dim=1).values)
