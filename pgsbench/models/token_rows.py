"""The rows of tokens on their way through an image tower: shortened, merged, and how often each token counts.

Shape letters: b batch, n patches, m tokens before, k tokens after, v views, d width.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from pgsbench.masking.base import BlockView, Fuser, Selection
from pgsbench.models.tower_parts import DeviceClock, key_mask, uncompiled


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


def mean_keys(block: Any, tokens: Tensor) -> Tensor:
    """Return (b, m, head width) float32: the keys of tokens (b, m, d) in a block, mean over its heads.

    Args:
        block: An open_clip `ResidualAttentionBlock`.
        tokens: Of its input.
    """
    attn = block.attn
    heads = (attn.num_heads, attn.head_dim)
    # The mean over the heads is linear, so one small matrix gives it.
    weight = attn.in_proj_weight.view(3, *heads, -1)[1].mean(dim=0).float()
    bias = attn.in_proj_bias.view(3, *heads)[1].mean(dim=0).float()
    return torch.nn.functional.linear(block.ln_1(tokens).float(), weight, bias)


# The clock reads the time, and strategies are free to do what cannot be compiled.
@uncompiled
def _decide(
    strategy: Fuser,
    block: Any,
    tokens: Tensor,
    sizes: Tensor,
    place: tuple[int, int, int],
    *,
    clock: DeviceClock,
) -> tuple[Tensor | None, int]:
    # Where each token goes, or None, and how many are left.
    depth, num_blocks, num_patches = place
    with clock.running(tokens.device), torch.no_grad(), torch.autocast(tokens.device.type, enabled=False):
        view = BlockView(depth, num_blocks, num_patches, mean_keys(block, tokens), sizes)
        return strategy.fuse(view), strategy.token_counts(num_patches, num_blocks)[depth]


@dataclass
class TokenRows:
    """What is known of the rows of one forward pass; b counts views as pictures.

    Attributes:
        num_prefix: Tokens before the patches; they never merge.
        entered: Patch tokens of a row that entered the first block.
        visible: (b, k) bool, or None where all are visible.
        sizes: (b, k) how many patches each token stands for, or None where that is one.
        sizes_before: The sizes with which each block began, where tokens merge between blocks.
        lengths: Patch tokens in each block, where tokens merge between blocks.
        merged: What has merged before a block, in order: (b, m) places in the next row.
    """

    num_prefix: int = 1
    entered: int = 0
    visible: Tensor | None = None
    sizes: Tensor | None = None
    sizes_before: list[Tensor] = field(default_factory=list)
    lengths: list[int] = field(default_factory=list)
    merged: list[Tensor] = field(default_factory=list)

    @classmethod
    def shortened(cls, x: Tensor, selection: Selection, num_prefix: int) -> tuple[Tensor, TokenRows]:
        """Drop and merge what a selection says, (b, prefix + n, d) to (v b, prefix + k, d).

        Views follow one another along the batch, so the tower sees them as pictures of their own.
        """
        prefix, patches = x[:, :num_prefix], x[:, num_prefix:]
        rows, sizes = [], []
        for one in map(selection.view, range(selection.num_views)):
            if one.into is None:
                row = patches.gather(1, one.keep[:, :, None].expand(-1, -1, x.shape[2]))
            else:
                row, size = absorb(patches, one.into, one.keep.shape[1])
                sizes.append(size)
            rows.append(torch.cat([prefix, row], dim=1))
        visible = selection.visible
        return torch.cat(rows), cls(
            num_prefix=num_prefix,
            entered=selection.keep.shape[-1],
            visible=None if visible is None else visible.flatten(0, -2),
            sizes=torch.cat(sizes) if sizes else None,
        )

    def key_mask(self, like: Tensor) -> Tensor | None:
        """Return the attention mask of the rows, or None where all tokens count alike."""
        if self.visible is None and self.sizes is None:
            return None
        return key_mask(self.visible, self.sizes, self.num_prefix, like)

    def merge(
        self, x: Tensor, strategy: Fuser, block: Any, *, depth: int, num_blocks: int, clock: DeviceClock
    ) -> tuple[Tensor, Tensor]:
        """Merge tokens before a block.

        Args:
            x: (b, prefix + m, d) the block's input.
            strategy: Decides.
            block: An open_clip `ResidualAttentionBlock`.
            depth: Its number.
            num_blocks: Blocks in all.
            clock: Counts what the decision takes.

        Returns:
            The shorter rows, and the attention mask for them.
        """
        before = after = self._sizes_at(depth, x)
        tokens = x[:, self.num_prefix :]
        into, left = _decide(
            strategy, block, tokens.detach(), before, (depth, num_blocks, self.entered), clock=clock
        )
        if into is not None:
            tokens, after = absorb(tokens, into, left, before)
            x = torch.cat([x[:, : self.num_prefix], tokens], dim=1)
        if depth == len(self.sizes_before):  # else the block is run again for its gradient
            self.sizes_before.append(before)
            self.lengths.append(after.shape[1])
            self.sizes = after
            if into is not None:
                self.merged.append(into)
        return x, key_mask(self.visible, after, self.num_prefix, x)

    def _sizes_at(self, depth: int, x: Tensor) -> Tensor:
        # A block that is run again for its gradient finds the sizes that it began with.
        sizes = self.sizes_before[depth] if depth < len(self.sizes_before) else self.sizes
        if sizes is None:
            sizes = torch.ones(x.shape[0], x.shape[1] - self.num_prefix, device=x.device)
        return sizes

    def weighed(self, output: Tensor) -> Tensor | None:
        """Return tokens whose plain average is the mean over all visible patches; None: as they are.

        A tower that pools by the average takes all tokens that are carried along. Here each one is scaled by
        its share, times their number.
        """
        if self.visible is None and self.sizes is None:
            return None
        prefix, tokens = output[:, : self.num_prefix], output[:, self.num_prefix :]
        weight = torch.ones(tokens.shape[:2], device=tokens.device) if self.sizes is None else self.sizes
        if self.visible is not None:
            weight = weight * self.visible
            tokens = tokens.masked_fill(~self.visible[:, :, None], 0.0)
        share = weight * weight.shape[1] / weight.sum(dim=1, keepdim=True)
        return torch.cat([prefix, (tokens * share[:, :, None]).to(output.dtype)], dim=1)

    def token_of(self, selection: Selection, num_patches: int) -> Tensor | None:
        """Return (b, n) which token of the last row has absorbed each patch, -1: none; None: none merged.

        Of several views it is the first.
        """
        into = selection.view(0).into
        if into is None and not self.merged:
            return None
        b = selection.keep.shape[-2]
        if into is None:
            into = torch.arange(num_patches, device=selection.keep.device).expand(b, -1)
        for step in self.merged:
            into = torch.where(into < 0, into, step[:b].gather(1, into.clamp_min(0)))
        return into
