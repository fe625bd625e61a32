from __future__ import annotations

from typing import Any

import pytest
import torch
from evalsets import picture

from pgsbench.data.tar import EncodedImage
from pgsbench.errors import DataError
from pgsbench.evaluation.embed import Preprocess, decode
from pgsbench.models.openclip import eval_transform

SQUARE = {"size": 32, "mean": (0.48, 0.46, 0.41), "std": (0.27, 0.26, 0.28), "interpolation": "bicubic"}


@pytest.mark.parametrize(
    "config",
    [
        SQUARE,
        {**SQUARE, "size": (24, 40)},
        {**SQUARE, "resize_mode": "squash", "interpolation": "bilinear"},
        {**SQUARE, "resize_mode": "longest", "fill_color": 7},
    ],
)
@pytest.mark.parametrize(("kind", "mode"), [("png", "RGB"), ("jpg", "L"), ("png", "RGBA"), ("png", "P")])
def test_bits_are_open_clips(config: dict[str, Any], kind: str, mode: str) -> None:
    size = config["size"]
    own = (size, size) if isinstance(size, int) else (size[1], size[0])
    transform = eval_transform(config)
    for sizes in ([own, own], [own, (51, 37)], [(64, 64), (20, 30)]):
        files = [picture(i, size, kind, mode) for i, size in enumerate(sizes)]
        expected = torch.stack([transform(decode("", file)) for file in files])

        batch = Preprocess(config)([("x", file) for file in files])

        assert torch.equal(batch, expected)
        assert batch.is_contiguous()


def test_a_damaged_picture_is_named() -> None:
    cut = EncodedImage(picture(0).data[:60], "png")
    with pytest.raises(DataError, match="test: sample 0007: the picture cannot be decoded"):
        Preprocess(SQUARE)([("test: sample 0007", cut)])
