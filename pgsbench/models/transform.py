"""open_clip's evaluation transform, from a model's own preprocessing configuration."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import fields
from typing import Any

from PIL import Image
from torch import Tensor

from pgsbench.errors import ModelError
from pgsbench.models.openclip import open_clip


def eval_transform(preprocess_cfg: Mapping[str, Any]) -> Callable[[Image.Image], Tensor]:
    """Return ``picture -> (3, height, width) float32`` exactly as open_clip evaluates with.

    Args:
        preprocess_cfg: open_clip's configuration (`Clip.preprocess_cfg`); keys that are not open_clip's
            are ignored, as open_clip does itself.
    """
    known = {field.name for field in fields(open_clip.transform.PreprocessCfg)}
    given = {key: value for key, value in preprocess_cfg.items() if key in known}
    transform: Callable[[Image.Image], Tensor] = open_clip.transform.image_transform_v2(
        open_clip.transform.PreprocessCfg(**given), is_train=False
    )
    return transform


def fitting(preprocess_cfg: Mapping[str, Any]) -> Callable[[Image.Image], Image.Image]:
    """Return the part of `eval_transform` that gives pictures the model's size, in RGB; its end normalises.

    Args:
        preprocess_cfg: As for `eval_transform`.
    """
    whole: Any = eval_transform(preprocess_cfg)
    *steps, to_tensor, normalise = whole.transforms
    assert isinstance(to_tensor, open_clip.transform.ToTensor)
    assert isinstance(normalise, open_clip.transform.Normalize)
    fit: Callable[[Image.Image], Image.Image] = type(whole)(steps)
    return fit


def check_preprocess(preprocess_cfg: Mapping[str, Any], where: str) -> None:
    """Raise ModelError where no picture can be prepared as a configuration says.

    Args:
        preprocess_cfg: open_clip's configuration; a key that is missing has open_clip's default.
        where: The model, for the message.
    """
    try:
        pixels = eval_transform(preprocess_cfg)(Image.new("RGB", (9, 5), "white"))
        is_good = (
            bool(pixels.isfinite().all()) and len(preprocess_cfg["mean"]) == len(preprocess_cfg["std"]) == 3
        )
        reason = "" if is_good else "mean and std must be three finite numbers each"
    except Exception as error:  # open_clip, torchvision and torch object in their own ways
        reason = f"{type(error).__name__} {error}".strip()
    if reason:
        raise ModelError(
            f"pictures cannot be prepared so: {reason}",
            where=f"{where}: preprocess_cfg",
            value=dict(preprocess_cfg),
            way_out="set it to what the model was trained with",
        )
