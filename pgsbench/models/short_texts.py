"""Encoding texts without their padding: a causal text tower never looks behind the token it reads off at.

Prompts have some ten tokens, the context of CLIP has 77. The tower runs as open_clip wrote it; only its
position embedding and its causal mask are cut for the length of the call.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from open_clip import CLIP, CustomTextCLIP
from open_clip.transformer import TextTransformer
from torch import Tensor, nn
from torch.func import functional_call


class ShortTexts:
    """A model's `encode_text` that computes no more tokens than the longest text of the batch has.

    Towers that look at the whole context (not causal, pooled at the last token, a class token, a mask of
    padding) or that are not open_clip's own (Hugging Face, CoCa) get whole texts.

    Args:
        model: The model, in evaluation mode.
    """

    def __init__(self, model: nn.Module) -> None:
        self._tower = _EncodeText(model)
        self._read_off = _read_off_position(model)
        self._owner = "model." if type(model) is CLIP else "model.text."

    def lengths(self, ids: Tensor) -> Tensor:
        """Return (b,) how many tokens of each text matter, from its (b, length) ids."""
        if self._read_off is None:
            return torch.full((len(ids),), ids.shape[1])
        return self._read_off(ids) + 1

    def __call__(self, ids: Tensor) -> Tensor:
        """Return the (b, d) embeddings of (b, length) ids, as `encode_text` gives them up to rounding."""
        longest = int(self.lengths(ids).max())
        if longest == ids.shape[1]:
            embeddings: Tensor = self._tower(ids)
            return embeddings
        text: Any = self._tower.get_submodule(self._owner.rstrip("."))
        cut = {
            f"{self._owner}positional_embedding": text.positional_embedding[:longest],
            f"{self._owner}attn_mask": text.attn_mask[:longest, :longest],
        }
        embeddings = functional_call(self._tower, cut, (ids[:, :longest],))
        return embeddings


class _EncodeText(nn.Module):
    """`encode_text` as a module's forward, which is what `functional_call` calls."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model: Any = model
        self.training = model.training

    def forward(self, ids: Tensor) -> Tensor:
        embeddings: Tensor = self.model.encode_text(ids)
        return embeddings


def _read_off_position(model: Any) -> Callable[[Tensor], Tensor] | None:
    """Return how to find the token that a text is read off at; None: the tower needs whole texts."""
    if type(model) is CLIP:
        pool, end = model.text_pool_type, model.text_eos_id
    elif type(model) is CustomTextCLIP and type(model.text) is TextTransformer and model.text.cls_emb is None:
        pool, end = model.text.pool_type, model.text.eos_id
    else:
        return None
    mask = (model if type(model) is CLIP else model.text).attn_mask
    if mask is None or not bool(torch.isneginf(mask[torch.ones_like(mask, dtype=torch.bool).triu(1)]).all()):
        return None
    if pool == "argmax":  # the mark of the end is the highest id
        return lambda ids: ids.argmax(dim=-1)
    if pool == "eos":
        return lambda ids: (ids == end).int().argmax(dim=-1)
    return None
