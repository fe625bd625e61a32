"""Masks for a training loop of one's own: pictures in, kept patches out, without a model.

::

    import torch
    from pgsbench.masking.apply import mask

    chosen = mask(images, "pgs", mask_ratio=0.5, seed=step)  # images (b, 3, 224, 224) in [0, 1]
    tokens = tokens.gather(1, chosen.keep[:, :, None].expand(-1, -1, tokens.shape[2]))
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from pgsbench.data.transforms import normalise
from pgsbench.errors import ConfigError, DataError
from pgsbench.masking.base import Fuser, Resampler, Strategy, view_of
from pgsbench.masking.configure import configure
from pgsbench.masking.coverage import object_shares
from pgsbench.masking.noise import Draws
from pgsbench.masking.selection_check import select_checked

#: Means and standard deviations of the channels that CLIP's pictures are normalised with.
CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)
CLIP_STD = (0.26862954, 0.26130258, 0.27577711)


@dataclass(frozen=True)
class Masks:
    """What is kept of a batch of pictures; b pictures of n patches, counted row by row.

    Attributes:
        keep: (b, k) int64 indices of the patches to carry through a tower, ascending.
        visible: (b, k) bool; False marks a patch that is carried along only to keep the batch rectangular. No
            other token may attend to it.
        shown: (b, n) bool: the patches that have an influence.
        grid: (rows, cols) of the patches.
    """

    keep: Tensor
    visible: Tensor
    shown: Tensor
    grid: tuple[int, int]


def mask(
    images: Tensor,
    strategy: str | Strategy = "pgs",
    *,
    patch_size: int | tuple[int, int] = 16,
    seed: int = 0,
    objects: Tensor | None = None,
    **fields: Any,
) -> Masks:
    """Choose which patches of pictures are kept, as `pgsbench train` does at step 0 of a run with this seed.

    Strategies that compare tokens as a training goes on compare pixels alone, as no tower is here.

    Args:
        images: (b, 3, h, w) uint8, or float in [0, 1]; not normalised. What is left of h and w after whole
            patches, at the lower and right border, is not looked at.
        strategy: A name (`pgsbench masks ls`), ``file.py:Class``, or a strategy.
        patch_size: Side of a patch in pixels, or (height, width).
        seed: Decides what is random. Equal seeds give equal masks, so give another one for every batch.
        objects: (b, h, w) maps, non-zero where a picture shows an object, for strategies such as `oracle`.
        **fields: Fields of the strategy (`pgsbench masks show NAME`): ``mask_ratio=0.5``.

    Returns:
        The kept patches, on the device of the pictures.

    Raises:
        ConfigError: The pictures are of another kind, a field is wrong, or the strategy needs a tower.
        DataError: The strategy needs objects, and there are none.
        PluginError: There is no such strategy.
    """
    height, width = (patch_size, patch_size) if isinstance(patch_size, int) else patch_size
    pixels = _pixels(images, (height, width))
    if isinstance(strategy, str):
        strategy = configure(strategy, fields)
    elif fields:
        raise ConfigError("fields go with the name of a strategy, and this one is made already")
    if "attention" in strategy.needs or isinstance(strategy, Resampler | Fuser):
        raise ConfigError(
            "this strategy works inside an image tower, and there is none here",
            where="strategy",
            value=type(strategy).__name__,
            way_out="attach it to a model: pgsbench.attach",
        )
    if "objects" in strategy.needs and objects is None:
        raise DataError(
            "this strategy must know where the objects are",
            where="objects",
            value=type(strategy).__name__,
            way_out="give maps (b, h, w) as `objects`, or choose another strategy",
        )
    h, w = (side // patch * patch for side, patch in zip(images.shape[-2:], (height, width), strict=True))
    shares = None if objects is None else object_shares(objects[..., :h, :w], (height, width))
    view = view_of(normalise(pixels[..., :h, :w], CLIP_MEAN, CLIP_STD), (height, width), objects=shares)
    with torch.no_grad():
        draws = Draws.of_batch(view.batch_size, seed=seed, device=images.device)
        selection = select_checked(strategy, view, draws=draws)
    keep, visible = selection.keep, selection.visible
    visible = torch.ones_like(keep, dtype=torch.bool) if visible is None else visible
    return Masks(keep, visible, selection.shown(view.num_patches), view.grid)


def _pixels(images: Tensor, patch_size: tuple[int, int]) -> Tensor:
    # In 0 to 255: `normalise` divides by 255, so that a training's uint8 pictures give the very same numbers.
    is_uint8 = isinstance(images, Tensor) and images.dtype == torch.uint8
    if (
        not isinstance(images, Tensor)
        or not (is_uint8 or (images.is_floating_point() and bool(((images >= 0) & (images <= 1)).all())))
        or images.ndim != 4
        or images.shape[1] != 3
        or not len(images)
        or not all(1 <= patch <= side for patch, side in zip(patch_size, images.shape[2:], strict=True))
    ):
        raise ConfigError(
            f"must be a tensor (b, 3, h, w) of uint8 or of floats in [0, 1] that holds a {patch_size} patch",
            where="images",
            value=(str(images.dtype), *images.shape) if isinstance(images, Tensor) else type(images).__name__,
        )
    return images if is_uint8 else images.float() * 255
