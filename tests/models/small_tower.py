"""A tower of two layers, and strategies that do one thing, for tests of masked towers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from open_clip.model import CLIP

from pgsbench.masking.base import Need, PatchView, Selection, keep_all
from pgsbench.masking.noise import Draws


def tiny(image_size: tuple[int, int] = (32, 48), **vision: Any) -> CLIP:
    """A CLIP with 4 x 6 patches and two layers unless it is said, the same at every call."""
    shape = {"image_size": image_size, "patch_size": 8, "width": 32, "layers": 2, "head_width": 16}
    text = {"context_length": 8, "vocab_size": 40, "width": 32, "heads": 2, "layers": 1}
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return CLIP(16, shape | vision, text)


@dataclass(frozen=True)
class HideLast:
    """Keeps the first `carried` patches and hides the last of them."""

    carried: int = 10
    hidden: int = 4
    needs: ClassVar[frozenset[Need]] = frozenset()

    @property
    def mask_ratio(self) -> float:
        return 0.5

    def select(self, view: PatchView, *, draws: Draws) -> Selection:
        keep = torch.arange(self.carried).repeat(view.batch_size, 1)
        return Selection(keep, keep < self.carried - self.hidden)


@dataclass(frozen=True)
class Recorder:
    """Keeps all and remembers, in a list it is given, what it was shown."""

    views: Any
    ema_momentum: float = 0.9
    mask_ratio: ClassVar[float] = 0.0
    needs: ClassVar[frozenset[Need]] = frozenset({"images", "tokens", "objects"})

    def select(self, view: PatchView, *, draws: Draws) -> Selection:
        self.views.append(view)
        return keep_all(view)


class Gaze(Recorder):
    """Looks at attention, and at nothing else."""

    needs = frozenset({"attention"})
