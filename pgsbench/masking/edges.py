"""Edge maps: how much structure each patch shows. Shapes: b batch, n patches, c channels, h and w pixels."""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

EdgeOperator = Literal["sobel", "canny", "none"]

_LUMINANCE = (0.299, 0.587, 0.114)
_HYSTERESIS_ROUNDS = 8


def edge_map(
    images: Tensor, patch_size: tuple[int, int], *, operator: EdgeOperator, spread: int = 0
) -> Tensor:
    """Return how much of an edge each patch shows, as ranks within its image.

    Args:
        images: (b, c, h, w) pictures.
        patch_size: (height, width) of a patch in pixels.
        operator: "sobel" averages the gradient over the patch, "canny" counts its edge pixels, "none"
            finds no edge anywhere.
        spread: Radius in patches over which the strength is averaged before ranking; 0 does nothing.

    Returns:
        (b, n) float32 in [0, 1]: share of the other patches that are weaker; 0 all over a flat picture.
    """
    b, _, h, w = images.shape
    grid = (h // patch_size[0], w // patch_size[1])
    if operator == "none":
        return torch.zeros(b, grid[0] * grid[1], device=images.device)
    light = luminance(images)
    pixels = magnitude(gradient(light)) if operator == "sobel" else canny(light)
    strength = F.avg_pool2d(pixels, patch_size)
    if spread:
        size = 2 * spread + 1
        strength = F.avg_pool2d(strength, size, stride=1, padding=spread, count_include_pad=False)
    return rank(strength.flatten(1))


def luminance(images: Tensor) -> Tensor:
    """Return the brightness (b, 1, h, w) float32 of (b, c, h, w) pictures; the mean unless c is 3."""
    if images.shape[1] != 3:
        return images.float().mean(dim=1, keepdim=True)
    weight = torch.tensor(_LUMINANCE, device=images.device).view(1, 3, 1, 1)
    return F.conv2d(images.float(), weight)


def gradient(light: Tensor) -> Tensor:
    """Return the 3 x 3 Sobel gradient (b, 2, h, w), x then y, of (b, 1, h, w), edges replicated."""
    x = torch.tensor([[-1.0, 0.0, 1.0], [-2.0, 0.0, 2.0], [-1.0, 0.0, 1.0]], device=light.device)
    return F.conv2d(F.pad(light, (1, 1, 1, 1), mode="replicate"), torch.stack([x, x.T])[:, None])


def magnitude(slope: Tensor) -> Tensor:
    """Return the length (b, 1, h, w) of gradients (b, 2, h, w)."""
    return torch.hypot(slope[:, :1], slope[:, 1:])


def canny(light: Tensor, *, low: float = 0.1, high: float = 0.2) -> Tensor:
    """Return edge pixels (b, 1, h, w), 0 or 1, by Canny's method on (b, 1, h, w).

    Gaussian blur (5 x 5, sigma 1), Sobel, non-maximum suppression in four directions, and hysteresis
    between two thresholds given as shares of each image's strongest gradient. Deviation: hysteresis runs
    a fixed number of rounds, since a test of convergence would make the device wait for the host.
    """
    tap = torch.exp(-0.5 * torch.arange(-2.0, 3.0, device=light.device) ** 2)
    kernel = torch.outer(tap, tap) / tap.sum() ** 2
    smooth = F.conv2d(F.pad(light, (2, 2, 2, 2), mode="replicate"), kernel[None, None])
    slope = gradient(smooth)
    size = magnitude(slope)
    thin = size * _is_ridge(size, slope)
    strongest = size.amax(dim=(1, 2, 3), keepdim=True)
    # A picture without any gradient has no edge: `>` keeps 0 > 0 out.
    weak = thin > low * strongest
    edges = (thin > high * strongest).float()
    for _ in range(_HYSTERESIS_ROUNDS):
        edges = F.max_pool2d(edges, 3, stride=1, padding=1) * weak
    return edges


def _is_ridge(size: Tensor, slope: Tensor) -> Tensor:
    # 1 where a pixel is at least as strong as both neighbours along its gradient, quantised to 45 degrees.
    h, w = size.shape[-2:]
    padded = F.pad(size, (1, 1, 1, 1))
    angle = torch.atan2(slope[:, 1:], slope[:, :1])
    sector = torch.round(angle / (torch.pi / 4)).long() % 4
    ridge = torch.zeros_like(size)
    for index, (dy, dx) in enumerate([(0, 1), (1, 1), (1, 0), (1, -1)]):
        ahead = padded[..., 1 + dy : 1 + dy + h, 1 + dx : 1 + dx + w]
        behind = padded[..., 1 - dy : 1 - dy + h, 1 - dx : 1 - dx + w]
        ridge = ridge + ((sector == index) & (size >= ahead) & (size >= behind))
    return ridge


def rank(values: Tensor) -> Tensor:
    """Return for each of (b, n) values the share of the other values in its row that are smaller."""
    n = values.shape[1]
    smaller = torch.searchsorted(values.sort(dim=1).values, values.contiguous())
    return smaller / max(1, n - 1)
