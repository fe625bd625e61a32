"""Attention that does not see hidden tokens, and sees merged ones more: one row of a mask for each picture.

Shape letters: b batch, k kept patches, l tokens (prefix and kept patches).
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def key_mask(visible: Tensor | None, sizes: Tensor | None, num_prefix: int, like: Tensor) -> Tensor:
    """Return the additive attention mask (b, 1, 1, l) over keys: the logarithm of how often each counts.

    That is -inf for a hidden token, 0 for a visible one and for the prefix, log(size) for one that stands for
    several patches. One mask for all heads and queries, which attention broadcasts. It is additive because
    open_clip casts a boolean mask to numbers, which would favour what it should hide.

    Args:
        visible: (b, k) bool, or None where all are visible.
        sizes: (b, k) how many patches each token stands for, or None where that is one. Not both None.
        num_prefix: Tokens before the patches; ``l = num_prefix + k``.
        like: A tensor with the wanted device and dtype.
    """
    given = visible if visible is not None else sizes
    assert given is not None
    mask = torch.zeros(given.shape, device=like.device) if sizes is None else sizes.clamp_min(1.0).log()
    if visible is not None:
        mask = mask.masked_fill(~visible, float("-inf"))
    return F.pad(mask.to(like.dtype), (num_prefix, 0))[:, None, None, :]


def as_key_padding(
    _: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> tuple[tuple[Any, ...], dict[str, Any]] | None:
    """Hand a `key_mask` to `nn.MultiheadAttention` as its key padding: a forward pre-hook for that module.

    As its `attn_mask` only one of (b * heads, l, l) would do, which has to be written to memory: 56 MiB at
    batch 64, ViT-B/16 and 138 tokens in float32. Key padding stays one row for each picture.

    The mask is told by its four dimensions alone. A hook that looked at the tower's current selection
    instead would see a later one when checkpointing runs a layer again.
    """
    mask = kwargs.get("attn_mask")
    if mask is None or mask.ndim != 4:
        return None
    return args, kwargs | {"attn_mask": None, "key_padding_mask": mask.flatten(1)}
