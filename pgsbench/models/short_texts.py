"""Text towers on fewer tokens than their context has.

A causal text tower never looks behind the token it reads off at: prompts have some ten tokens, the context of
CLIP has 77. The tower runs as open_clip wrote it; only its position embedding and its causal mask are cut for
the length of the call.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call

from pgsbench.models.openclip import open_clip


class ShortTexts:
    """A model that computes no more tokens of a text than it is given.

    Towers that look at the whole context (not causal, pooled at the last token, a class token, a mask of
    padding) or that are not open_clip's own (Hugging Face, CoCa) cannot do so.

    Args:
        model: The model, in any mode.

    Attributes:
        can_cut: Whether the text tower can; else it must be given whole texts.
    """

    def __init__(self, model: nn.Module) -> None:
        self._model: Any = model
        self._encode = _EncodeText(model)
        self._read_off = _read_off_position(model)
        self.can_cut = self._read_off is not None

    def lengths(self, ids: Tensor) -> Tensor:
        """Return (b,) how many tokens of each text matter, both marks included, from its (b, l) ids."""
        if self._read_off is None:
            return torch.full((len(ids),), ids.shape[1])
        return self._read_off(ids) + 1

    def __call__(self, ids: Tensor) -> Tensor:
        """Return the (b, d) embeddings of (b, l) ids, as `encode_text` gives them up to rounding.

        No more tokens are computed than the longest text of the batch has.
        """
        return self._run(self._model.encode_text, ids[:, : int(self.lengths(ids).max())])

    def encode(self, ids: Tensor, **options: bool) -> Tensor:
        """Return what the model's class gives for (b, l) ids, l up to the context, whatever is attached."""
        return self._run(partial(type(self._model).encode_text, self._model, **options), ids)

    def _run(self, encode_text: Callable[[Tensor], Tensor], ids: Tensor) -> Tensor:
        cut = {}
        if self.can_cut and ids.shape[1] < len(_text_tower(self._model).positional_embedding):
            cut = {f"model.{name}": value for name, value in _cut(self._model, ids.shape[1]).items()}
        embeddings: Tensor = functional_call(self._encode, cut, (encode_text, ids))
        return embeddings

    def forward(self, images: Tensor, ids: Tensor) -> Any:
        """Return what the model returns for pictures (b, c, h, w) and texts (b, l), l up to the context.

        A text gets the first positions of the context, wherever its words stood before it was cut. Gradients
        go to all parameters.
        """
        if ids.shape[1] == len(_text_tower(self._model).positional_embedding):
            return self._model(images, ids)
        # Whether weights are tied is looked up in all of them at each call; the two that are cut never are.
        return functional_call(self._model, _cut(self._model, ids.shape[1]), (images, ids), tie_weights=False)


def _text_tower(model: Any) -> Any:
    return getattr(model, "text", model)  # whatever its class: FSDP makes one of its own


def _cut(model: nn.Module, length: int) -> dict[str, Tensor]:
    """Return what the text tower holds for each place of the context, cut; gradients go through slices."""
    text = _text_tower(model)
    owner = "" if text is model else "text."
    return {
        f"{owner}positional_embedding": text.positional_embedding[:length],
        f"{owner}attn_mask": text.attn_mask[:length, :length],
    }


class _EncodeText(nn.Module):
    """A model around whatever encodes texts with it, as `functional_call` calls modules."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model: Any = model

    def forward(self, encode_text: Callable[[Tensor], Tensor], ids: Tensor) -> Tensor:
        return encode_text(ids)


def _read_off_position(model: Any) -> Callable[[Tensor], Tensor] | None:
    """Return how to find the token that a text is read off at; None: the tower needs whole texts."""
    if type(model) is open_clip.CLIP:
        pool, end = model.text_pool_type, getattr(model, "text_eos_id", None)  # since open_clip 3.1
    elif (
        type(model) is open_clip.CustomTextCLIP
        and type(model.text) is open_clip.transformer.TextTransformer
        and model.text.cls_emb is None
    ):
        pool, end = model.text.pool_type, getattr(model.text, "eos_id", None)
    else:
        return None
    mask = _text_tower(model).attn_mask
    if mask is None or not bool(torch.isneginf(mask[torch.ones_like(mask, dtype=torch.bool).triu(1)]).all()):
        return None
    if pool == "argmax":  # the mark of the end is the highest id
        return partial(torch.argmax, dim=-1)
    return partial(_first, end) if pool == "eos" and end is not None else None


def _first(token: int, ids: Tensor) -> Tensor:
    return (ids == token).int().argmax(dim=-1)
