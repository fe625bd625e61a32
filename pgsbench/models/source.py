"""Any open_clip model by what a user calls it: a folder, a file of weights, a published name."""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import open_clip
import torch
from torch import nn

from pgsbench.config.fingerprint import file_hash
from pgsbench.errors import ModelError, nearest
from pgsbench.models import checkpoint
from pgsbench.models.clip import Clip, build, complete, load, resolve

HUB = "hf-hub:"
WEIGHTS_ENDINGS = (".safetensors", ".pt", ".pth", ".bin", ".ckpt")

#: Where a run directory keeps its model.
TRAINED = Path("checkpoints", "model")


@dataclass(frozen=True)
class Opened:
    """A model and what it is known by.

    Attributes:
        clip: The model, in evaluation mode.
        sha256: Hash of the weights: of their file, or of the tensors where they were fetched.
    """

    clip: Clip
    sha256: str


def open_model(source: str, *, model: str | None = None, device: torch.device | str = "cpu") -> Opened:
    """Open a model to look at, not to train.

    Args:
        source: One of

            * a run directory, or a folder in open_clip's local-dir layout (somewhere below a folder that
              holds just one, as downloaded artifacts do),
            * a file of weights: safetensors, or what ``torch.load(weights_only=True)`` reads,
            * ``NAME:TAG``, open_clip's name of an architecture and of published weights,
            * ``hf-hub:OWNER/NAME``.
        model: Architecture for a file of weights: a built-in one, open_clip's, or a JSON file.
        device: Where the model lives.

    Raises:
        ModelError: There is no such model, it cannot be fetched, or loading it would run code.
    """
    path = Path(source)
    if model is not None and not path.is_file():
        raise ModelError(
            "an architecture is named for a file of weights only; all else knows its own",
            where="--model", value=model, way_out="leave --model out, or name a file of weights",
        )  # fmt: skip
    if path.is_dir():
        return _open_folder(path, device)
    if path.is_file():
        return _open_file(path, model, device)
    name, _, tag = source.partition(":")
    if source.startswith(HUB):
        clip = _fetch(source, None, device)
    elif tag:
        _check_tag(name, tag)
        clip = _fetch(name, tag, device)
    else:
        way_out = "name a folder, a file, NAME:TAG or hf-hub:OWNER/NAME"
        if open_clip.get_model_config(source) is not None:
            way_out = f"this is an architecture; name its weights, too: {source}:TAG"
        raise ModelError("there is no such checkpoint", value=source, way_out=way_out)
    return Opened(clip, state_hash(clip.model))


def state_hash(model: nn.Module) -> str:
    """Return the SHA-256 of a model's weights: their names, types, shapes and bytes."""
    digest = hashlib.sha256()
    for name, value in sorted(model.state_dict().items()):
        digest.update(f"{name} {value.dtype} {tuple(value.shape)}\n".encode())
        digest.update(value.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def _open_folder(folder: Path, device: torch.device | str) -> Opened:
    folder = folder / TRAINED if (folder / TRAINED).is_dir() else folder
    if not (folder / checkpoint.CONFIG_FILE).is_file():
        below = sorted(folder.rglob(checkpoint.CONFIG_FILE))
        folder = below[0].parent if len(below) == 1 else folder
    clip = load(folder, device=device)
    has_file = (folder / checkpoint.WEIGHTS_FILE).is_file()
    return Opened(clip, checkpoint.weights_hash(folder) if has_file else state_hash(clip.model))


def _open_file(path: Path, model: str | None, device: torch.device | str) -> Opened:
    if path.suffix not in WEIGHTS_ENDINGS:
        raise ModelError(
            "not a file of weights", where=str(path), way_out=f"one of {', '.join(WEIGHTS_ENDINGS)}"
        )
    if model is None:
        raise ModelError(
            "a file of weights does not say which architecture it belongs to", where=str(path),
            way_out="add --model NAME_OR_CONFIG.json, for example --model ViT-B-16",
        )  # fmt: skip
    if path.suffix != ".safetensors":
        _refuse_code(path)
    clip = build(model, seed=0, device=device)
    try:
        open_clip.load_checkpoint(clip.model, str(path), weights_only=True, device="cpu")
    except Exception as error:  # weights can misfit an architecture in any way
        raise ModelError(
            f"these weights do not fit the model {model}: {_brief(error)}", where=str(path),
            way_out="--model must name the architecture that was trained, QuickGELU and image size included",
        ) from error  # fmt: skip
    clip.model.eval()
    return Opened(clip, file_hash(path))


def _refuse_code(path: Path) -> None:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch suggests to run the program in the file
            content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a file that is no pickle can stop the reader in any way
        raise ModelError(
            f"not readable as plain weights, and anything more could run code: {_brief(error)}",
            where=str(path),
            way_out="if you trust the file, save its weights alone, once: "
            "torch.save(torch.load(FILE, weights_only=False)['state_dict'], 'weights.pt')",
        ) from error  # fmt: skip
    if not isinstance(content, Mapping) or not content:
        raise ModelError("no weights by name in this file", where=str(path), value=type(content).__name__)


def _check_tag(name: str, tag: str) -> None:
    resolve(name)
    known = open_clip.list_pretrained_tags_by_model(name)
    if tag not in known:
        way_out = nearest(tag, known) if known else "open_clip has no published weights of this architecture"
        raise ModelError("unknown weights of this architecture", where=name, value=tag, way_out=way_out)


def _fetch(name: str, tag: str | None, device: torch.device | str) -> Clip:
    try:
        model: Any = open_clip.create_model(
            name, pretrained=tag, device=device, output_dict=True, require_pretrained=True
        )
        return complete(model.eval(), name)
    except Exception as error:  # the hub, the network and the cache fail in many ways
        raise ModelError(
            f"the model is neither in the cache nor can it be fetched: {_brief(error)}",
            value=f"{name}:{tag}" if tag else name,
            way_out="this needs a network once; or name a local folder or file",
        ) from error


def _brief(error: Exception) -> str:
    lines = str(error).strip().splitlines()[:3]
    text = " ".join(line.strip() for line in lines)
    return f"{type(error).__name__}: {text[:200]}{' ...' if len(text) > 200 else ''}"
