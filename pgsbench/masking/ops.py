"""The tensor operations that masks are made of: pure, batched, without a host synchronisation.

Shape letters: b batch, n patches, k kept patches, d features of a patch, c channels, h and w pixels.
"""

from __future__ import annotations

from functools import lru_cache

import torch
import torch.nn.functional as F
from torch import Tensor

from pgsbench.masking.base import Selection, num_kept
from pgsbench.masking.noise import Draws

#: A patch whose pixels deviate less than this from their mean, in normalised units, has no pattern.
FLAT = 1e-4

#: Features up to this length have no direction.
NO_LENGTH = 1e-12

#: Pixels in a row of a patch up to which they are picked one by one: copying so short a row takes longer.
SHORT_ROW = 8

#: Patches in a half from which on three quarters of a symmetric product take less time than all of it.
WORTH_HALVING = 64


def order_ascending(score: Tensor, *, draws: Draws) -> Tensor:
    """Return the indices (b, n) that sort each row of (b, n) scores; equal scores in random order."""
    shuffle = draws.uniform(score.shape[1]).argsort(dim=1)
    return shuffle.gather(1, score.gather(1, shuffle).argsort(dim=1))


def keep_lowest(score: Tensor, mask_ratio: float, *, draws: Draws) -> Selection:
    """Keep the ``floor(n (1 - mask_ratio))`` patches with the lowest of (b, n) scores; of equal ones any."""
    order = order_ascending(score, draws=draws)
    return Selection(order[:, : num_kept(score.shape[1], mask_ratio)].sort(dim=1).values)


def patchify(images: Tensor, patch_size: tuple[int, int]) -> Tensor:
    """Cut (b, c, h, w) pictures into (b, n, d) patches, row by row; d runs over channel, row, column."""
    b, c, h, w = images.shape
    height, width = patch_size
    rows, cols = h // height, w // width
    if width <= SHORT_ROW and not torch.compiler.is_compiling():  # a graph keeps no table of places
        places = _places((c, h, w), patch_size, images.device)
        return images.flatten(1).index_select(1, places).view(b, rows * cols, c * height * width)
    cells = images.view(b, c, rows, height, cols, width).permute(0, 2, 4, 1, 3, 5)
    return cells.reshape(b, rows * cols, c * height * width)


@lru_cache
def _places(shape: tuple[int, int, int], patch_size: tuple[int, int], device: torch.device) -> Tensor:
    # (c * h * w,) int64: where each number of the patches of a picture lies in the picture.
    c, h, w = shape
    height, width = patch_size
    places = torch.arange(c * h * w, device=device).view(c, h // height, height, w // width, width)
    return places.permute(1, 3, 0, 2, 4).flatten()


def shrink(images: Tensor, patch_size: tuple[int, int], side: int) -> tuple[Tensor, tuple[int, int]]:
    """Average pixels until a patch side is about `side`, by a factor that divides it.

    Of the sides that such a factor leaves the one is taken whose ratio to `side` is nearest to 1, the shorter
    one of two: at a side of 4, patches of 8, 16 and 32 pixels become 4 x 4 and those of 14 or 7 become 7 x 7.

    Returns:
        The smaller pictures (b, c, h', w') and their patch size.
    """
    down, across = (_shrinking_factor(length, side) for length in patch_size)
    if (down, across) == (1, 1):
        return images, patch_size
    b, c, h, w = images.shape
    # Sums of slices rather than `avg_pool2d`, which is several times slower on a CPU.
    rows = _sum(images.reshape(b, c, h // down, down, w), 3)
    sums = _sum(rows.view(b, c, h // down, w // across, across), 4)
    return sums.div_(down * across), (patch_size[0] // down, patch_size[1] // across)


def _sum(values: Tensor, dim: int) -> Tensor:
    # One after the other into the first sum, as new memory costs more than memory that is in use.
    first, *others = values.unbind(dim)
    if not others:
        return first
    total = first + others[0]
    for other in others[1:]:
        total.add_(other)
    return total


def _shrinking_factor(length: int, side: int) -> int:
    factors = [factor for factor in range(length, 0, -1) if length % factor == 0]
    return min(factors, key=lambda factor: max(length / (factor * side), factor * side / length))


def patterns(patches: Tensor, colours: Tensor) -> tuple[Tensor, Tensor]:
    """Return vectors whose inner products are the correlations of the patches' pixels.

    Each patch is z-scored over all its values. A flat patch has no pattern; the second tensor holds the
    direction of its channel means instead, so that it resembles flat patches of its colour, itself with
    1, and patches with a pattern with 0.

    Args:
        patches: (b, n, d) pixels of the patches.
        colours: (b, n, c) their mean colours.

    Returns:
        (b, n, d) float32, unit vectors or zero for flat patches; (b, n, c + 1), the other way round.
    """
    centred = patches - patches.mean(dim=2, keepdim=True)
    size = centred.norm(dim=2, keepdim=True)
    flat = size <= FLAT * patches.shape[2] ** 0.5
    direction = F.normalize(F.pad(colours, (0, 1), value=0.5), dim=2)
    return centred.mul_(~flat / size.clamp_min(1e-12)), direction * flat


def channel_means(patches: Tensor, num_channels: int) -> Tensor:
    """Return the mean colour (b, n, c) of (b, n, d) patches whose channels come first within d."""
    b, n, _ = patches.shape
    return patches.view(b, n, num_channels, -1).mean(dim=3)


def colour_similarity(colours: Tensor, rows: Tensor | None = None) -> Tensor:
    """Return how alike mean colours are, in (0, 1]: m rows of (b, n, c) against all n give (b, m, n).

    ``exp(-|x - y|^2 / s)`` with s the mean squared distance over all pairs of the image, so that a change
    of contrast changes nothing. A picture of one colour gives 1 everywhere.

    Args:
        colours: (b, n, c) mean colours.
        rows: (b, m) which of them to compare with all; every one by default.
    """
    centred = colours - colours.mean(dim=1, keepdim=True)
    spread = 2.0 * centred.square().mean(dim=1, keepdim=True).sum(dim=2, keepdim=True)
    unit = centred / spread.sqrt().clamp_min(FLAT)
    minus_square = unit.square().sum(dim=2, keepdim=True).neg_()
    exponent = rows_of(minus_square, rows) + minus_square.transpose(1, 2)
    exponent.baddbmm_(rows_of(unit, rows), unit.transpose(1, 2), alpha=2.0)
    return exponent.clamp_max_(0.0).exp_()


def rows_of(values: Tensor, rows: Tensor | None) -> Tensor:
    """Return the rows (b, m) of (b, n, d) values as (b, m, d); all of them without `rows`."""
    if rows is None:
        return values
    return values.gather(1, rows[:, :, None].expand(-1, -1, values.shape[2]))


def add_inner(total: Tensor, features: Tensor, rows: Tensor | None, weight: float) -> None:
    """Add to (b, m, n), in place, `weight` times the inner products of m rows of (b, n, d) with all n."""
    total.baddbmm_(rows_of(features, rows), features.transpose(1, 2), alpha=weight)


def add_cosines(total: Tensor, features: Tensor, rows: Tensor | None, weight: float) -> None:
    """Add to (b, m, n), in place, `weight` times the cosines of m rows of (b, n, d) with all n.

    Features of length zero have no direction: they resemble themselves with 1 and everything else with 0.
    """
    length = features.norm(dim=2, keepdim=True)
    empty = length <= NO_LENGTH
    # Scaling the small product instead of the wide features saves a copy of them.
    scale = length.clamp_min(NO_LENGTH).reciprocal().masked_fill(empty, 0.0)
    _add_to_self(total, empty * weight, rows)
    half = features.shape[1] // 2
    if rows is not None or half < WORTH_HALVING:
        product = torch.bmm(rows_of(features, rows), features.transpose(1, 2))
        total.add_(product.mul_(rows_of(scale, rows)).mul_(scale.transpose(1, 2)), alpha=weight)
        return
    # All with all is symmetric: of its four blocks the lower left is the upper right, transposed.
    lower, lower_scale = features[:, half:], scale[:, half:]
    upper = torch.bmm(features[:, :half], features.transpose(1, 2))
    upper.mul_(scale[:, :half]).mul_(scale.transpose(1, 2))
    corner = torch.bmm(lower, lower.transpose(1, 2)).mul_(lower_scale).mul_(lower_scale.transpose(1, 2))
    total[:, :half].add_(upper, alpha=weight)
    total[:, half:, :half].add_(upper[:, :, half:].transpose(1, 2), alpha=weight)
    total[:, half:, half:].add_(corner, alpha=weight)


def _add_to_self(total: Tensor, values: Tensor, rows: Tensor | None) -> None:
    # Adds (b, n, 1) values, in place, where the m rows of (b, m, n) stand for the same patch as the column.
    if rows is None:
        total.diagonal(dim1=1, dim2=2).add_(values[:, :, 0])
    else:
        total.scatter_add_(2, rows[:, :, None], rows_of(values, rows).to(total.dtype))


def transport_scaling(kernel: Tensor, *, rounds: int) -> tuple[Tensor, Tensor]:
    """Scale a symmetric positive kernel to a doubly stochastic matrix ``diag(u) K diag(u)``.

    Sinkhorn's algorithm for symmetric kernels, ``u <- sqrt(u / (K u))`` from ``u = (K 1)^(-1/2)``. Only
    the vector u is ever formed: the matrix itself costs as much memory as the kernel and is not needed.

    Args:
        kernel: (b, n, n) symmetric, non-negative, with a positive diagonal.
        rounds: Updates; a fixed number, as a test of convergence would wait for the device.

    Returns:
        u (b, n), and the residual (b,): the largest deviation of a row sum from 1.
    """
    u = kernel.sum(dim=1, keepdim=True).rsqrt()
    for _ in range(rounds):
        # The kernel is symmetric; a row times a matrix is ten times faster on a CPU than the transpose.
        u = (u / torch.bmm(u, kernel)).sqrt()
    row_sums = u * torch.bmm(u, kernel)
    return u[:, 0], (row_sums - 1.0).abs().amax(dim=(1, 2))
