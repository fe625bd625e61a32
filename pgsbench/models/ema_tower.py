"""The slow copy of an image tower whose attention strategies can look at.

Shape letters: b batch, n patches, l tokens (class token and patches), h heads, d width.
"""

from __future__ import annotations

import copy
import itertools
import math
from typing import Any

import torch
from torch import Tensor, nn

from pgsbench.errors import ModelError


class EmaTower:
    """An exponential moving average of an image tower, for the attention that it pays to patches.

    The momentum encoder of A-CLIP (arXiv 2212.08653, section 3): it never sees a mask, gets no gradient and
    follows the tower slowly. It is no module, so that it can lie beside a model without being part of it:
    neither its state dict nor its parameters contain the copy.

    Args:
        tower: An open_clip ViT with a class token; the copy starts as its equal.
        momentum: Weight m of the past at the start of the training; it rises to 1 along half a cosine.
    """

    def __init__(self, tower: nn.Module, *, momentum: float) -> None:
        self.momentum = momentum
        self.copy: Any = copy.deepcopy(tower).eval().requires_grad_(False)
        self.copy.patch_dropout = nn.Identity()
        self._tower = tower
        self._followed: int | None = None

    @property
    def device(self) -> torch.device:
        """Where the copy is."""
        device: torch.device = self.copy.class_embedding.device
        return device

    @torch.no_grad()
    def follow(self, *, step: int, progress: float) -> None:
        """Move towards the tower, ``copy <- m copy + (1 - m) tower``; only once for each step.

        Called before a step, it takes in the weights that the step before has left.

        Args:
            step: Optimizer step that comes next.
            progress: Share of the training that is done, in [0, 1].

        Raises:
            ModelError: Under FSDP.
        """
        if step == self._followed:
            return
        self._followed = step
        # 1 - m, a cosine from 1 - momentum to 0; lerp leaves equal weights exactly as they are
        rate = (1.0 - self.momentum) * 0.5 * (1.0 + math.cos(math.pi * progress))
        for slow, fast in zip(self.copy.parameters(), self._tower.parameters(), strict=True):
            if hasattr(fast, "full_tensor"):
                raise ModelError(
                    "a moving average needs whole weights, and these are split up over processes",
                    where="strategy",
                    way_out="use DistributedDataParallel in place of FSDP, or another strategy",
                )
            slow.lerp_(fast, rate)

    @torch.no_grad()
    def attention(self, images: Tensor) -> Tensor:
        """Return (b, n) float32: attention of the class token to patches, mean over layers and heads.

        A row sums to 1 less the attention that the class token pays to itself.

        Args:
            images: (b, c, h, w) normalised pictures.
        """
        x = self.copy._embeds(images)
        blocks = self.copy.transformer.resblocks
        total = class_attention(blocks[0], x)
        for before, block in itertools.pairwise(blocks):
            x = before(x)
            total = total + class_attention(block, x)
        return total[:, 1:] / len(blocks)  # what the last block makes of it is not needed


def class_attention(block: Any, x: Tensor) -> Tensor:
    """Return (b, l) float32: attention of the first token to all in one block, mean over its heads.

    Args:
        block: An open_clip `ResidualAttentionBlock`.
        x: (b, l, d) its input.
    """
    attn, x = block.attn, block.ln_1(x)
    of_query, of_key, _ = attn.in_proj_weight.view(3, attn.num_heads, attn.head_dim, -1)
    offset = attn.in_proj_bias.view(3, attn.num_heads, attn.head_dim)[0]
    query = torch.einsum("bd,hed->bhe", x[:, 0], of_query) + offset
    # q . (W x + c) = (W' q) . x + q . c: one vector for each head instead of a key for each token. The
    # last term is the same for all tokens and drops out of the softmax.
    direction = torch.einsum("bhe,hed->bhd", query, of_key)
    logits = direction @ x.transpose(1, 2) / math.sqrt(attn.head_dim)
    return logits.float().softmax(dim=2).mean(dim=1)
