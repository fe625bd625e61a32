"""Masks for a training loop of one's own: pictures in, kept patches out, without a model.

::

    import torch
    from pgsbench.masking.apply import mask

    chosen = mask(images, "pgs", ratio=0.5, seed=step)       # images (b, 3, 224, 224) in [0, 1]
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
    ratio: float | None = None,
    patch_size: int | tuple[int, int] = 16,
    seed: int = 0,
    progress: float = 0.0,
    objects: Tensor | None = None,
    **fields: Any,
) -> Masks:
    """Choose which patches of pictures are kept, as `pgsbench train` does at step 0 of a run with this seed.

    Args:
        images: (b, 3, h, w) uint8, or float in [0, 1]; not normalised. What is left of h and w after whole
            patches, at the lower and right border, is not looked at.
        strategy: A name (`pgsbench masks ls`), ``file.py:Class``, or a strategy.
        ratio: Share of the patches that is masked; None: the strategy's own.
        patch_size: Side of a patch in pixels, or (height, width).
        seed: Decides what is random. Equal seeds give equal masks, so give another one for every batch.
        progress: Share of the training that is done, in [0, 1]. It must be 0 for strategies that compare
            tokens as the training goes on (`pgs-released`; `pgs` and `cluster` with a `token_weight`), as
            no tower is here to give them.
        objects: (b, h, w) maps, non-zero where a picture shows an object, for strategies such as `oracle`.
        **fields: Other fields of the strategy (`pgsbench masks show NAME`).

    Returns:
        The kept patches, on the device of the pictures.

    Raises:
        ConfigError: The pictures are of another kind, a field is wrong, or the strategy needs a tower.
        DataError: The strategy needs objects, and there are none.
        PluginError: There is no such strategy.
    """
    height, width = (patch_size, patch_size) if isinstance(patch_size, int) else patch_size
    pixels = _as_bytes_or_shares(images, (height, width))
    chosen = _strategy(strategy, ratio, fields)
    in_a_tower = "attention" in chosen.needs and "looks at the attention of"
    if isinstance(chosen, Resampler | Fuser):
        in_a_tower = "drops no patches: it saves its tokens inside"
    if in_a_tower:
        raise ConfigError(
            f"this strategy {in_a_tower} an image tower, and there is none here",
            where="strategy",
            value=_name(strategy),
            way_out="attach it to a model: pgsbench.models.masked_tower.attach",
        )
    if "tokens" in chosen.needs and progress > 0 and getattr(chosen, "token_weight", 1.0) > 0:
        raise ConfigError(
            "after the beginning of a training this strategy compares tokens of an image tower, and there is "
            "none here",
            where="progress",
            value=progress,
            way_out="leave progress at 0, or give `token_weight=0` where the strategy has it",
        )
    if "objects" in chosen.needs and objects is None:
        raise DataError(
            "this strategy must know where the objects are",
            where="objects",
            value=_name(strategy),
            way_out="give maps (b, h, w) as `objects`, or choose another strategy",
        )
    h, w = (side // patch * patch for side, patch in zip(images.shape[-2:], (height, width), strict=True))
    normalised = normalise(pixels[..., :h, :w], CLIP_MEAN, CLIP_STD)
    shares = None if objects is None else object_shares(objects[..., :h, :w], (height, width))
    view = view_of(normalised, (height, width), objects=shares, progress=progress)
    with torch.no_grad():
        draws = Draws.of_batch(view.batch_size, seed=seed, device=images.device)
        selection = select_checked(chosen, view, draws=draws)
    keep, visible = selection.keep, selection.visible
    visible = torch.ones_like(keep, dtype=torch.bool) if visible is None else visible
    return Masks(keep, visible, selection.shown(view.num_patches), view.grid)


def _strategy(strategy: str | Strategy, ratio: float | None, fields: dict[str, Any]) -> Strategy:
    if isinstance(strategy, str):
        given = fields if ratio is None else {"mask_ratio": ratio, **fields}
        return configure(strategy, given)
    if ratio is not None or fields:
        raise ConfigError(
            "ratio and fields go with the name of a strategy, and this one is complete",
            where="strategy",
            value=_name(strategy),
            way_out="set them where you make it",
        )
    return strategy


def _name(strategy: str | Strategy) -> str:
    return strategy if isinstance(strategy, str) else type(strategy).__name__


def _as_bytes_or_shares(images: Tensor, patch_size: tuple[int, int]) -> Tensor:
    # `normalise` divides by 255, so that a training's uint8 pictures give the very same numbers.
    if not isinstance(images, Tensor):
        raise ConfigError("must be a torch tensor", where="images", value=type(images).__name__)
    if images.ndim != 4 or images.shape[1] != 3 or not len(images):
        raise ConfigError("must be (b, 3, h, w)", where="images", value=tuple(images.shape))
    if min(patch_size) < 1 or images.shape[2] < patch_size[0] or images.shape[3] < patch_size[1]:
        raise ConfigError("no whole patch fits into the pictures", where="patch_size", value=patch_size)
    if images.dtype == torch.uint8:
        return images
    if not images.is_floating_point():
        raise ConfigError("must be uint8, or float in [0, 1]", where="images", value=str(images.dtype))
    low, high = images.aminmax()
    if not (low >= 0 and high <= 1):
        raise ConfigError(
            "floating-point pictures must lie in [0, 1]; they are normalised here",
            where="images",
            value=f"from {low:.3g} to {high:.3g}",
        )
    return images.float() * 255
