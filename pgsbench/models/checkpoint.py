"""Checkpoints that any tool around open_clip can load, and models as open_clip's users expect them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import torch
from PIL import Image
from safetensors.torch import save_file
from torch import Tensor, nn

from pgsbench.disk.whole_files import atomic
from pgsbench.errors import ModelError, UserError
from pgsbench.hashing import digest, file_hash
from pgsbench.models.clip import Clip, Tokenize, complete
from pgsbench.models.openclip import eval_transform, open_clip

CONFIG_FILE = "open_clip_config.json"
WEIGHTS_FILE = "open_clip_model.safetensors"


def save(clip: Clip, folder: Path) -> str:
    """Write a model in open_clip's local-dir layout and return the SHA-256 of its weights file.

    ``open_clip.create_model("local-dir:FOLDER")`` and clip_benchmark's command line load the result.
    """
    config = {"model_cfg": clip.model_cfg, "preprocess_cfg": clip.preprocess_cfg}
    with atomic(folder / CONFIG_FILE) as scratch:
        scratch.write_text(json.dumps(config, indent=2) + "\n")
    weights = {key: value.detach().cpu().contiguous() for key, value in clip.model.state_dict().items()}
    with atomic(folder / WEIGHTS_FILE) as scratch:
        save_file(weights, scratch, metadata={"format": "pt"})
    return weights_hash(folder)


def weights_hash(folder: Path) -> str:
    """Return the SHA-256 of a checkpoint's weights file: what a score belongs to."""
    return file_hash(folder / WEIGHTS_FILE)


def load(folder: Path, *, device: torch.device | str = "cpu") -> Clip:
    """Load a checkpoint folder: ``open_clip_config.json`` and ``open_clip_model.safetensors``.

    Raises:
        ModelError: The folder is no such checkpoint, has no weights, or weights and configuration do not fit.
    """
    if not (folder / CONFIG_FILE).is_file():
        raise ModelError(
            "no checkpoint here: open_clip_config.json is missing",
            where=str(folder),
            way_out="name a run directory, or a folder in open_clip's local-dir layout",
        )
    name = f"local-dir:{folder}"
    try:
        model = open_clip.create_model(name, device=device, output_dict=True, require_pretrained=True)
        return complete(model.eval(), name)
    except UserError:
        raise
    except Exception as error:
        raise ModelError(
            f"the checkpoint cannot be loaded: {type(error).__name__}: {error}",
            where=str(folder),
            way_out="it needs open_clip_model.safetensors beside open_clip_config.json, which must fit",
        ) from error


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
