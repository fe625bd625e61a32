"""What a mask does to the objects of a picture, and how much two masks differ.

Shape letters: b batch, n patches, h and w pixels.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from pgsbench.masking.edges import edge_map

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
