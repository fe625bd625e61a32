"""open_clip's evaluation transform, from a model's own preprocessing configuration."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import fields
from typing import Any

from PIL import Image
from torch import Tensor

from pgsbench.errors import ModelError
from pgsbench.models.openclip import open_clip

#: Values that open_clip knows for two keys of a preprocessing configuration.
CHOICES = {
    "resize_mode": ("shortest", "longest", "squash"),
    "interpolation": ("bicubic", "bilinear", "random"),
}


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
    assert isinstance(to_tensor, open_clip.transform.MaybeToTensor)
    assert isinstance(normalise, open_clip.transform.Normalize)
    fit: Callable[[Image.Image], Image.Image] = type(whole)(steps)
    return fit


def check_preprocess(preprocess_cfg: Mapping[str, Any], where: str) -> None:
    """Raise where pictures cannot be prepared as a configuration says.

    Args:
        preprocess_cfg: open_clip's configuration; a key that is missing has open_clip's default.
        where: The model, for the message.

    Raises:
        ModelError: A value is none that open_clip can use, or gives no finite pixels.
    """
    for key, rule, is_good in (
        ("size", "must be a whole number of pixels, or height and width", _is_size),
        ("mode", "must be RGB", lambda value: value == "RGB"),
        ("mean", "must be three finite numbers, one a channel", _are_three_numbers),
        (
            "std",
            "must be three positive numbers, one a channel",
            lambda v: _are_three_numbers(v) and min(v) > 0,
        ),
        *(
            (key, f"must be one of {', '.join(known)}", lambda value, known=known: value in known)
            for key, known in CHOICES.items()
        ),
    ):
        if key in preprocess_cfg and not is_good(preprocess_cfg[key]):
            raise ModelError(
                rule,
                where=f"{where}: preprocess_cfg.{key}",
                value=preprocess_cfg[key],
                way_out="set it to what the model was trained with",
            )


def _is_size(value: object) -> bool:
    sides = value if isinstance(value, list | tuple) else (value, value)
    return len(sides) == 2 and all(type(side) is int and side > 0 for side in sides)


def _are_three_numbers(value: object) -> bool:
    return (
        isinstance(value, list | tuple)
        and len(value) == 3
        and all(type(number) in (int, float) and math.isfinite(number) for number in value)
    )
