"""open_clip's evaluation transform, from a model's own preprocessing configuration."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import fields
from typing import Any

from open_clip.transform import PreprocessCfg, image_transform_v2
from PIL import Image
from torch import Tensor


def eval_transform(preprocess_cfg: Mapping[str, Any]) -> Callable[[Image.Image], Tensor]:
    """Return ``picture -> (3, height, width) float32`` exactly as open_clip evaluates with.

    Args:
        preprocess_cfg: open_clip's configuration (`Clip.preprocess_cfg`); keys that are not open_clip's
            are ignored, as open_clip does itself.
    """
    known = {field.name for field in fields(PreprocessCfg)}
    given = {key: value for key, value in preprocess_cfg.items() if key in known}
    transform: Callable[[Image.Image], Tensor] = image_transform_v2(PreprocessCfg(**given), is_train=False)
    return transform
