"""Pictures at another size than the tower's own: the position code is resampled with them."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call


def position_at(code: Tensor, grid: tuple[int, int], wanted: tuple[int, int]) -> Tensor:
    """Return a position code for another grid, as `open_clip.model.resize_pos_embed` makes it.

    Args:
        code: (prefix + n, d) of a grid of n patches.
        grid: Its (rows, cols).
        wanted: The other grid.
    """
    n = grid[0] * grid[1]
    prefix, patches = code[: len(code) - n], code[len(code) - n :]
    field = patches.float().reshape(1, *grid, -1).permute(0, 3, 1, 2)
    field = F.interpolate(field, wanted, mode="bicubic", antialias=True, align_corners=False)
    return torch.cat([prefix, field.permute(0, 2, 3, 1).flatten(0, 2).to(code.dtype)])


def embed(visual: Any, images: Tensor, code: Tensor | None = None) -> Tensor:
    """Run the embedding step of an open_clip ViT as open_clip wrote it, with another position code."""
    if code is None:
        tokens: Tensor = type(visual)._embeds(visual, images)
        return tokens
    tokens = functional_call(_Embedding(visual), {"visual.positional_embedding": code}, (images,))
    return tokens


class _Embedding(nn.Module):
    """The embedding step as a module's forward, which is what `functional_call` calls."""

    def __init__(self, visual: nn.Module) -> None:
        super().__init__()
        self.visual: Any = visual

    def forward(self, images: Tensor) -> Tensor:
        return embed(self.visual, images)
