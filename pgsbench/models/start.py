"""The model that a training begins with: untrained or from weights, whole or with a locked tower."""

from __future__ import annotations

from pathlib import Path

import torch

from pgsbench.config.schema import RunConfig
from pgsbench.errors import ModelError, nearest
from pgsbench.hashing import file_hash
from pgsbench.models import checkpoint
from pgsbench.models.clip import Clip, build, load_weights
from pgsbench.models.openclip import open_clip
from pgsbench.models.source import TRAINED, WEIGHTS_ENDINGS
from pgsbench.records.kept import resolved


def build_for(config: RunConfig, *, seed: int, device: torch.device | str = "cpu") -> Clip:
    """Build the model of a run as its training finds it at step 0.

    Raises:
        ModelError: It cannot be built, its weights cannot be loaded, or it has no such tower.
    """
    model = config.model
    tag = model.pretrained if model.pretrained in tags_of(model.name) else None
    clip = build(
        model.name,
        seed=seed,
        device=device,
        grad_checkpointing=model.grad_checkpointing,
        token_std=model.token_std,
        tag=tag,
        image_size=model.image_size,
        siglip=config.training.loss == "sigmoid",
    )
    if model.pretrained:
        file = weights_file(model.name, model.pretrained)
        load_weights(clip, file, name=model.name, where="model.pretrained")
    if model.locked:
        lock(clip, model.locked)
    return clip


def tags_of(name: str) -> list[str]:
    """Return the tags of the weights of an architecture that open_clip knows."""
    tags: list[str] = open_clip.list_pretrained_tags_by_model(name)
    return tags


def weights_file(name: str, source: str) -> Path:
    """Return the file of the weights that a model begins with; a tag's are fetched.

    Args:
        name: The architecture.
        source: A tag of it, a file of weights, or a run directory, ``RUN_DIRECTORY@0.5`` (a checkpoint that
            it has kept) or another folder of a checkpoint.

    Raises:
        ModelError: There is none.
    """
    if source in tags_of(name):
        try:
            return Path(open_clip.download_pretrained(open_clip.get_pretrained_cfg(name, source)))
        except Exception as error:  # the hub, the network and the cache fail in many ways
            raise ModelError(
                f"these weights are neither in the cache nor can they be fetched: {type(error).__name__}",
                where="model.pretrained",
                value=source,
                way_out="this needs a network once; or name a file",
            ) from error
    path = Path(resolved(source))
    for folder in (path / TRAINED, path):
        if (folder / checkpoint.WEIGHTS_FILE).is_file():
            return folder / checkpoint.WEIGHTS_FILE
    if path.is_file() and path.suffix in WEIGHTS_ENDINGS:
        return path
    raise ModelError(
        "no weights to begin with",
        where="model.pretrained",
        value=source,
        way_out=f"name a file of weights, a run directory or a tag; {nearest(source, tags_of(name))}",
    )


def pretrained_id(name: str, source: str | None) -> str:
    """Return what the weights that a model begins with are known by: the tag, or their hash; "" for none.

    Raises:
        ModelError: There are none.
    """
    if not source:
        return ""
    return source if source in tags_of(name) else file_hash(weights_file(name, source))


def lock(clip: Clip, tower: str) -> None:
    """Freeze the ``image`` or the ``text`` tower: its weights get no gradient."""
    for name, parameter in clip.model.named_parameters():
        is_image = name.startswith("visual.")
        if name not in ("logit_scale", "logit_bias") and is_image == (tower == "image"):
            parameter.requires_grad_(False)
