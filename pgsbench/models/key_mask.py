"""Attention that does not see hidden tokens: one row of a mask for each picture.

Shape letters: b batch, k kept patches, l tokens (prefix and kept patches).
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def key_mask(visible: Tensor, num_prefix: int, like: Tensor) -> Tensor:
    """Return the additive attention mask (b, 1, 1, l) that hides keys: 0 visible, -inf hidden.

    One for all heads and queries, which attention broadcasts; prefix tokens are always visible. It is
    additive because open_clip casts a boolean mask to numbers, which would favour what it should hide.

    Args:
        visible: (b, k) bool.
        num_prefix: Tokens before the patches; ``l = num_prefix + k``.
        like: A tensor with the wanted device and dtype.
    """
    hidden = ~F.pad(visible, (num_prefix, 0), value=True)
    mask = torch.zeros(hidden.shape, device=like.device, dtype=like.dtype).masked_fill(hidden, float("-inf"))
    return mask[:, None, None, :]


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
