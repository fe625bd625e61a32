"""Edge maps: how much structure each patch shows. Shapes: b batch, n patches, c channels, h and w pixels."""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

EdgeOperator = Literal["sobel", "none"]

_LUMINANCE = (0.299, 0.587, 0.114)

#: Strengths that differ by less are equal but for round-off; a share of the picture's strongest light.
_ROUND_OFF = 5e-7


def edge_map(
    images: Tensor, patch_size: tuple[int, int], *, operator: EdgeOperator, spread: int = 0
) -> Tensor:
    """Return how much of an edge each patch shows, as ranks within its image.

    Args:
        images: (b, c, h, w) pictures.
        patch_size: (height, width) of a patch in pixels.
        operator: "sobel" averages the gradient over the patch, "none" finds no edge anywhere.
        spread: Radius in patches over which the strength is averaged before ranking; 0 does nothing.

    Returns:
        (b, n) float32 in [0, 1]: share of the other patches that are weaker by more than round-off; 0 all
        over a flat picture.
    """
    b, _, h, w = images.shape
    grid = (h // patch_size[0], w // patch_size[1])
    if operator == "none":
        return torch.zeros(b, grid[0] * grid[1], device=images.device)
    light = luminance(images)
    strength = patch_means(magnitude(*gradient(light)), patch_size)
    if spread:
        size = 2 * spread + 1
        strength = F.avg_pool2d(strength, size, stride=1, padding=spread, count_include_pad=False)
    scale = light.abs().amax(dim=(1, 2))
    return rank(strength.flatten(1), tolerance=_ROUND_OFF * scale[:, None])


def luminance(images: Tensor) -> Tensor:
    """Return the brightness (b, h, w) float32 of (b, c, h, w) pictures; the mean unless c is 3."""
    first, *others = images.float().unbind(dim=1)
    c = images.shape[1]
    shares = _LUMINANCE if c == 3 else (1.0 / c,) * c
    light = first * shares[0]
    for channel, share in zip(others, shares[1:], strict=True):
        light.add_(channel, alpha=share)
    return light


def gradient(light: Tensor) -> tuple[Tensor, Tensor]:
    """Return the 3 x 3 Sobel gradient along x and y, each (b, h, w), of (b, h, w); edges replicated."""
    # Sums of shifted pictures: on a CPU a convolution of one channel is many times slower.
    p = F.pad(light[:, None], (1, 1, 1, 1), mode="replicate")[:, 0]
    down = (p[:, :-2] + p[:, 2:]).add_(p[:, 1:-1], alpha=2.0)
    along = (p[:, :, :-2] + p[:, :, 2:]).add_(p[:, :, 1:-1], alpha=2.0)
    return down[:, :, 2:] - down[:, :, :-2], along[:, 2:] - along[:, :-2]


def magnitude(x: Tensor, y: Tensor) -> Tensor:
    """Return the length of gradients."""
    return (x * x).addcmul_(y, y).sqrt_()


def patch_means(pixels: Tensor, patch_size: tuple[int, int]) -> Tensor:
    """Return the mean over each patch, (b, rows, cols), of (b, h, w) pixels."""
    b, h, w = pixels.shape
    height, width = patch_size
    sums = pixels.view(b, h // height, height, w).sum(dim=2)
    return sums.view(b, h // height, w // width, width).sum(dim=3) / (height * width)


def rank(values: Tensor, *, tolerance: Tensor | float = 0.0) -> Tensor:
    """Return for each of (b, n) values the share of the other values in its row that are smaller.

    Args:
        values: (b, n).
        tolerance: By how much a value must be smaller to count, (b, 1) or one number.
    """
    n = values.shape[1]
    smaller = torch.searchsorted(values.sort(dim=1).values, (values - tolerance).contiguous())
    return smaller / max(1, n - 1)
