"""What pictures look like to a tower that gets them smaller, or with some patches merged.

Shape letters: b batch, n patches, c channels, h and w pixels.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from pgsbench.masking.base import PatchView, Resampler, Selection, Strategy
from pgsbench.masking.ops import patchify


def resample(images: Tensor, size: tuple[int, int]) -> Tensor:
    """Return (b, c, h, w) pictures at another (height, width), bicubic with antialiasing as open_clip's."""
    if images.shape[-2:] == size:
        return images
    small = F.interpolate(images.float(), size, mode="bicubic", antialias=True, align_corners=False)
    return small.to(images.dtype)


def coarse(images: Tensor, size: tuple[int, int]) -> Tensor:
    """Return pictures that have been resampled to a smaller (height, width), shown at their old size."""
    return F.interpolate(resample(images, size), images.shape[-2:])


def averaged(images: Tensor, into: Tensor, patch_size: tuple[int, int]) -> Tensor:
    """Return (b, c, h, w) pictures in which patches that have merged are replaced by their mean.

    Args:
        images: (b, c, h, w) float, of whole patches.
        into: (b, n) which token has absorbed each patch; -1: none, which leaves the patch as it is.
        patch_size: (height, width) in pixels.
    """
    patches = patchify(images, patch_size)
    b, n, d = patches.shape
    place = torch.where(into < 0, n, into)
    wide = place[:, :, None].expand(-1, -1, d)
    total = patches.new_zeros(b, n + 1, d).scatter_add(1, wide, patches)
    count = patches.new_zeros(b, n + 1).scatter_add(1, place, torch.ones_like(place, dtype=patches.dtype))
    mean = (total / count.clamp_min(1.0)[:, :, None]).gather(1, wide)
    columns = torch.where((into < 0)[:, :, None], patches, mean).transpose(1, 2)
    return F.fold(columns, images.shape[-2:], patch_size, stride=patch_size)


def appearance(strategy: Strategy, selection: Selection, view: PatchView, images: Tensor) -> Tensor | None:
    """Return the pictures as a tower sees them, or None where a strategy changes none but drops patches.

    What merges between the blocks of a tower is not known here; of several views it is the first.

    Args:
        strategy: Has chosen.
        selection: What it has chosen.
        view: From what; of the whole grid.
        images: (b, c, h, w) float, whose colours are shown.
    """
    height, width = view.patch_size
    if isinstance(strategy, Resampler):
        rows, cols = strategy.grid_for(view.grid)
        return coarse(images, (rows * height, cols * width))
    into = selection.view(0).into
    return None if into is None else averaged(images, into, view.patch_size)
