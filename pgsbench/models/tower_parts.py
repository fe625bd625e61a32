"""Small parts of a masked tower: attention that hides or counts tokens, its slow copy, positions, a clock.

Shape letters: b batch, k kept patches, l tokens (prefix and kept patches), n patches, h heads, d width.
"""

from __future__ import annotations

import copy
import itertools
import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from typing import Any, ParamSpec, TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call

from pgsbench.errors import ModelError


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


def position_at(code: Tensor, grid: tuple[int, int], wanted: tuple[int, int]) -> Tensor:
    """Return a position code for another grid, as `open_clip.model.resize_pos_embed` makes it.

    Args:
        code: (prefix + n, d) of a grid of n patches.
        grid: Its (rows, cols).
        wanted: The other grid.
    """
    n = grid[0] * grid[1]
    prefix, patches = code[: len(code) - n], code[len(code) - n :]
    field = patches.float().reshape(1, *grid, -1).permute(0, 3, 1, 2)
    field = F.interpolate(field, wanted, mode="bicubic", antialias=True, align_corners=False)
    return torch.cat([prefix, field.permute(0, 2, 3, 1).flatten(0, 2).to(code.dtype)])


def embed(visual: Any, images: Tensor, code: Tensor | None = None) -> Tensor:
    """Run the embedding step of an open_clip ViT as open_clip wrote it, with another position code."""
    if code is None:
        tokens: Tensor = type(visual)._embeds(visual, images)
        return tokens
    tokens = functional_call(_Embedding(visual), {"visual.positional_embedding": code}, (images,))
    return tokens


class _Embedding(nn.Module):
    """The embedding step as a module's forward, which is what `functional_call` calls."""

    def __init__(self, visual: nn.Module) -> None:
        super().__init__()
        self.visual: Any = visual

    def forward(self, images: Tensor) -> Tensor:
        return embed(self.visual, images)


class DeviceClock:
    """Adds up what blocks of code take; on a GPU by events, which are read when somebody asks."""

    def __init__(self) -> None:
        self._seconds = 0.0
        self._pending: list[tuple[torch.cuda.Event, torch.cuda.Event]] = []

    @property
    def seconds(self) -> float:
        """Seconds in all; on a GPU this waits for the device."""
        for start, end in self._pending:
            end.synchronize()
            self._seconds += start.elapsed_time(end) / 1000.0
        self._pending.clear()
        return self._seconds

    @contextmanager
    def running(self, device: torch.device) -> Iterator[None]:
        """Count what the block does on a device."""
        if device.type != "cuda":
            start = time.perf_counter()
            yield
            self._seconds += time.perf_counter() - start
            return
        while self._pending and self._pending[0][1].query():  # type: ignore[no-untyped-call]  # torch's
            begun, ended = self._pending.pop(0)
            self._seconds += begun.elapsed_time(ended) / 1000.0
        begun, ended = (torch.cuda.Event(enable_timing=True) for _ in range(2))  # type: ignore[no-untyped-call]  # torch's
        begun.record()
        yield
        ended.record()
        self._pending.append((begun, ended))


P = ParamSpec("P")
R = TypeVar("R")


def uncompiled(function: Callable[P, R]) -> Callable[P, R]:
    """Keep a function out of compiled graphs, as `torch.compiler.disable` does at its first call.

    That one imports the compiler when a module is read, which takes longer than all else in it; most programs
    compile nothing.
    """
    disabled: Callable[P, R] | None = None

    @wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        nonlocal disabled
        if disabled is None:
            disabled = torch.compiler.disable(function)  # type: ignore[no-untyped-call]  # torch's
        return disabled(*args, **kwargs)

    return call


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
