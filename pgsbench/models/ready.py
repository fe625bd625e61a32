"""A model with its transform and its tokenizer, as open_clip's users expect them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from PIL import Image
from torch import Tensor, nn

from pgsbench.errors import ModelError
from pgsbench.hashing import digest
from pgsbench.models.clip import Clip, Tokenize
from pgsbench.models.openclip import open_clip
from pgsbench.models.transform import eval_transform


class ReadyModel(NamedTuple):
    """A trained model in evaluation mode: ``model, transform, tokenizer = run.model()``.

    Attributes:
        model: The open_clip model.
        transform: ``picture -> (3, height, width) float32``, open_clip's evaluation transform.
        tokenizer: Texts to token ids (m, context length).
    """

    model: nn.Module
    transform: Callable[[Image.Image], Tensor]
    tokenizer: Tokenize


def ready(clip: Clip) -> ReadyModel:
    """Return a model with its evaluation transform and its tokenizer."""
    return ReadyModel(clip.model.eval(), eval_transform(clip.preprocess_cfg), clip.tokenize)


def clip_of(model: nn.Module | tuple[Any, ...]) -> Clip:
    """Return what is needed to measure a model of open_clip's.

    Pictures are prepared as the model itself says, whatever a transform beside it does.

    Args:
        model: The model, or ``(model, transform, tokenizer)``.

    Raises:
        ModelError: It does not say how pictures are prepared, or which tokenizer it has.
    """
    module: Any = model[0] if isinstance(model, tuple) else model
    tokenize = model[-1] if isinstance(model, tuple) else None
    prepared = getattr(getattr(module, "visual", None), "preprocess_cfg", None)
    if not prepared:
        raise ModelError(
            "not a model that open_clip made: it does not say how pictures are prepared",
            value=type(module).__name__,
            way_out="name a checkpoint instead of a model",
        )
    if tokenize is None:
        if getattr(module, "vocab_size", None) != open_clip.SimpleTokenizer().vocab_size:
            raise ModelError(
                "the model does not say which tokenizer it has",
                value=type(module).__name__,
                way_out="give (model, transform, tokenizer)",
            )
        tokenize = open_clip.SimpleTokenizer(context_length=module.context_length)
    # Equal weights under another activation are another model, and results are kept under this, too.
    return Clip(module.eval(), tokenize, {"layers": digest(repr(module))}, dict(prepared))
