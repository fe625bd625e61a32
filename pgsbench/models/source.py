"""Opening any open_clip model by a folder, a file of weights or a published name."""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from pgsbench.errors import ModelError, UserError, nearest
from pgsbench.hashing import file_hash
from pgsbench.models import checkpoint
from pgsbench.models.architectures import HUB
from pgsbench.models.checkpoint import load
from pgsbench.models.clip import Clip, brief, build, complete, load_weights, made_for, resolve
from pgsbench.models.foreign import PARAMS, Foreign
from pgsbench.models.openclip import open_clip

WEIGHTS_ENDINGS = (".safetensors", ".pt", ".pth", ".bin", ".ckpt")

#: Where a run directory keeps its model.
TRAINED = Path("checkpoints", "model")


@dataclass(frozen=True)
class Opened:
    """A model and what it is known by.

    Attributes:
        clip: The model, in evaluation mode.
        sha256: Hash of the weights: of their file, or of the tensors where they were fetched.
        note: What the user should check about the model; empty: nothing.
    """

    clip: Clip
    sha256: str
    note: str = ""


def open_model(source: str, *, model: str | None = None, device: torch.device | str = "cpu") -> Opened:
    """Open a model to look at, not to train.

    Args:
        source: One of

            * a run directory, a folder of open_clip_train's (``LOGS/NAME``), or a folder in open_clip's
              local-dir layout (somewhere below a folder that holds just one, as downloaded artifacts do),
            * a file of weights: safetensors, or what ``torch.load(weights_only=True)`` reads,
            * ``NAME:TAG``, open_clip's name of an architecture and of published weights,
            * ``hf-hub:OWNER/NAME``.
        model: Architecture for a file of weights: a built-in one, open_clip's, or a JSON file; or
            ``NAME:TAG`` for one of open_clip's published weights, which settles activation and
            preprocessing, too.
        device: Where the model lives.

    Raises:
        ModelError: There is no such model, it cannot be fetched, or loading it would run code.
    """
    path = Path(source)
    if model is not None and not path.is_file():
        raise ModelError(
            "--model is for a file of weights only: every other source says its own architecture",
            where="--model",
            value=model,
            way_out="leave --model out, or name a file of weights",
        )
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
        way_out = (
            "name a folder, a file, NAME:TAG or hf-hub:OWNER/NAME; `pgsbench runs ls` lists the runs here"
        )
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
    if (folder / PARAMS).is_file():
        run = Foreign.read(folder)
        clip = run.open()
        clip.model.to(device)
        return Opened(clip, file_hash(run.weights))
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
            "a file of weights does not say which architecture it belongs to",
            where=str(path),
            way_out="add --model NAME_OR_CONFIG.json, for example --model ViT-B-16",
        )
    name, _, tag = (model, "", "") if model.endswith(".json") else model.partition(":")
    if tag:
        _check_tag(name, tag)
    shapes = _shapes_in(path)
    clip = build(name, seed=0, device=device, tag=tag or None)
    load_weights(clip, path, name=model, where="--model")
    clip.model.eval()
    notes = (_resized(shapes, clip.model), "" if tag else _doubt(name, clip))
    return Opened(clip, file_hash(path), "; ".join(filter(None, notes)))


def _resized(shapes: Mapping[str, tuple[int, ...]], model: nn.Module) -> str:
    """Return which position embeddings open_clip has silently interpolated while it loaded weights."""
    changed = []
    for name, value in model.state_dict().items():
        if name.endswith(("positional_embedding", "pos_embed")):
            names = (name, f"text.{name}", name.removeprefix("text."))  # CLIP's two layouts
            stored = next((shapes[other] for other in names if other in shapes), None)
            if stored not in (None, tuple(value.shape)):
                changed.append(f"{name} from {stored} to {tuple(value.shape)}")
    if not changed:
        return ""
    return (
        f"position embeddings were interpolated, {', '.join(changed)}: these weights were trained with "
        "another image size or context length"
    )


def _doubt(name: str, clip: Clip) -> str:
    """Return what a bare name of an architecture leaves open: published weights may want something else."""
    others = []
    for tag in open_clip.list_pretrained_tags_by_model(name):
        options = made_for(name, tag)
        prepared = {key: clip.preprocess_cfg[key] for key in options["force_preprocess_cfg"]}
        if options != {"force_quick_gelu": clip.quick_gelu, "force_preprocess_cfg": prepared}:
            others.append(tag)
    if not others:
        return ""
    return (
        f"opened as a plain {name}; if these are published weights that were trained otherwise (activation, "
        f"mean and std), name them: --model {name}:TAG, TAG one of {', '.join(others)}"
    )


def _shapes_in(path: Path) -> dict[str, tuple[int, ...]]:
    """Return name and shape of each weight in a file that is read without running code.

    Raises:
        ModelError: It holds something else, or more.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch suggests to run the program in the file
            weights = open_clip.factory.load_state_dict(str(path), device="cpu", weights_only=True)
    except (AttributeError, StopIteration):  # a list, or nothing
        weights = {}
    except Exception as error:  # a file that is no pickle can stop the reader in any way
        raise ModelError(
            f"not readable as plain weights, and anything more could run code: {brief(error)}",
            where=str(path),
            way_out="if you trust the file, save its state dict alone, once: "
            "torch.save(model.state_dict(), 'weights.pt')",
        ) from error
    tensors = {name: value for name, value in weights.items() if isinstance(value, Tensor)}
    if not tensors:
        raise ModelError(
            "no weights by name in this file",
            where=str(path),
            value=", ".join(map(str, weights))[:200],
            way_out="save those alone, once: torch.save(torch.load(FILE)[KEY], 'weights.pt'), KEY the entry "
            "that holds them",
        )
    return {name: tuple(value.shape) for name, value in tensors.items()}


def _check_tag(name: str, tag: str) -> None:
    resolve(name)
    known = open_clip.list_pretrained_tags_by_model(name)
    if tag not in known:
        way_out = nearest(tag, known) if known else "open_clip has no published weights of this architecture"
        raise ModelError("unknown weights of this architecture", where=name, value=tag, way_out=way_out)


def _fetch(name: str, tag: str | None, device: torch.device | str) -> Clip:
    options = made_for(name, tag) if tag else {}
    try:
        model: Any = open_clip.create_model(
            name, pretrained=tag, device=device, output_dict=True, require_pretrained=True, **options
        )
        return complete(model.eval(), name, quick_gelu=options.get("force_quick_gelu", False))
    except UserError:
        raise
    except Exception as error:  # the hub, the network and the cache fail in many ways
        raise ModelError(
            f"the model is neither in the cache nor can it be fetched: {brief(error)}",
            value=f"{name}:{tag}" if tag else name,
            way_out="this needs a network once; or name a local folder or file",
        ) from error
