"""Merging tokens inside an open_clip ViT: averages, sizes, and what attention makes of them.

Shape letters: b batch, m tokens before, k tokens after, d width.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from pgsbench.masking.base import BlockView, Fuser


def absorb(tokens: Tensor, into: Tensor, num_left: int, sizes: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Average tokens that merge.

    Args:
        tokens: (b, m, d).
        into: (b, m) int64: the place in the shorter row that absorbs each, -1 for one that is thrown away.
        num_left: Length k of the shorter row.
        sizes: (b, m) how many patches each stands for; None: one.

    Returns:
        The shorter row (b, k, d), each token the mean by size of those it has absorbed, and the sizes (b, k).
    """
    b, _, d = tokens.shape
    weight = torch.ones(into.shape, device=tokens.device) if sizes is None else sizes
    place = torch.where(into < 0, num_left, into)  # one place more, for what is thrown away
    total = weight.new_zeros(b, num_left + 1).scatter_add(1, place, weight)[:, :num_left]
    # In float32: many small shares are added, and bfloat16 would lose them.
    summed = torch.zeros(b, num_left + 1, d, device=tokens.device).scatter_add(
        1, place[:, :, None].expand(-1, -1, d), tokens.float() * weight[:, :, None]
    )[:, :num_left]
    return (summed / total.clamp_min(1.0)[:, :, None]).to(tokens.dtype), total


def block_view(
    block: Any, x: Tensor, sizes: Tensor, *, depth: int, num_blocks: int, num_patches: int, num_prefix: int
) -> BlockView:
    """Return what a `Fuser` sees before a block.

    Args:
        block: An open_clip `ResidualAttentionBlock`.
        x: (b, prefix + m, d) its input.
        sizes: (b, m) how many patches each token stands for.
        depth: Its number.
        num_blocks: Blocks in all.
        num_patches: Patch tokens that entered the first.
        num_prefix: Tokens before the patches.
    """
    attn = block.attn
    heads = (attn.num_heads, attn.head_dim)
    # The mean over the heads is linear, so one small matrix gives it.
    weight = attn.in_proj_weight.view(3, *heads, -1)[1].mean(dim=0).float()
    bias = attn.in_proj_bias.view(3, *heads)[1].mean(dim=0).float()
    keys = torch.nn.functional.linear(block.ln_1(x[:, num_prefix:]).float(), weight, bias)
    return BlockView(depth, num_blocks, num_patches, keys, sizes)


def fuse(strategy: Fuser, view: BlockView) -> tuple[Tensor, int] | None:
    """Return where each token goes, and how many are left; None where none merges."""
    into = strategy.fuse(view)
    if into is None:
        return None
    counts = strategy.token_counts(view.num_patches, view.num_blocks)
    return into, counts[view.depth]


def followed(entry: Tensor, fused: list[Tensor]) -> Tensor:
    """Return (b, n) which token of the last row has absorbed each patch.

    Args:
        entry: (b, n) the token of the first row that has absorbed each patch; -1 where none has.
        fused: What merged before each block, in order: (b, m) places in the next row.
    """
    for into in fused:
        entry = torch.where(entry < 0, entry, into.gather(1, entry.clamp_min(0)))
    return entry
