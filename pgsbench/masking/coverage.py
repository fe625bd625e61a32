"""What a masked picture shows: of its objects, to a tower that gets it smaller, and beside another mask.

Shape letters: b batch, n patches, c channels, h and w pixels.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from pgsbench.masking.base import PatchView, Resampler, Selection, Strategy
from pgsbench.masking.edges import edge_map
from pgsbench.masking.ops import patchify

#: A picture whose shown patches hold less than this share of its object has all but lost it.
NEARLY_GONE = 0.1


def object_shares(objects: Tensor, patch_size: tuple[int, int]) -> Tensor:
    """Return the share (b, n) of each patch's pixels that show an object, from (b, h, w) maps.

    Args:
        objects: Maps at model resolution, non-zero where a picture shows an object.
        patch_size: (height, width) in pixels.
    """
    return F.avg_pool2d((objects > 0).float()[:, None], patch_size).flatten(1)


def objects_kept(shares: Tensor, shown: Tensor) -> dict[str, Tensor]:
    """Measure what masked pictures still show of their objects; means over the batch, as 0-d tensors.

    A mean over all object patches hides which of them are shown, so insides and outlines stand apart.

    Args:
        shares: (b, n) share of each patch that shows an object.
        shown: (b, n) bool, which patches have an influence.

    Returns:
        ``objects_kept``: shown share of the object pixels; ``insides_kept`` and ``outlines_kept``: shown
        share of the patches that lie wholly or partly in an object; ``objects_nearly_gone``: share of
        the pictures that show less than a tenth of their object pixels.
    """
    inside, outline = shares >= 1.0, (shares > 0) & (shares < 1.0)
    visible_pixels, pixels = (shares * shown).sum(dim=1), shares.sum(dim=1)
    has_object = pixels > 0
    gone = has_object & (visible_pixels < NEARLY_GONE * pixels)
    return {
        "objects_kept": visible_pixels.sum() / pixels.sum().clamp_min(1e-9),
        "insides_kept": (inside & shown).sum() / inside.sum().clamp_min(1),
        "outlines_kept": (outline & shown).sum() / outline.sum().clamp_min(1),
        "objects_nearly_gone": gone.sum() / has_object.sum().clamp_min(1),
    }


def top_edges_kept(images: Tensor, patch_size: tuple[int, int], shown: Tensor) -> Tensor:
    """Return the share (b,) of each picture's tenth of patches with the strongest edges that is shown.

    A sanity figure and no evidence of quality.

    Args:
        images: (b, c, h, w) pictures.
        patch_size: (height, width) in pixels.
        shown: (b, n) bool, which patches have an influence.
    """
    edge = edge_map(images, patch_size, operator="sobel")
    strongest = edge.topk(max(1, round(0.1 * edge.shape[1]))).indices
    return shown.gather(1, strongest).float().mean(dim=1)


def overlap(shown: Tensor, other: Tensor) -> Tensor:
    """Return the intersection over union (b,) of two selections (b, n) bool of the same pictures.

    Between two seeds of one strategy it tells how little augmentation is left: 1 is the same mask again.
    """
    return (shown & other).sum(dim=1) / (shown | other).sum(dim=1).clamp_min(1)


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
