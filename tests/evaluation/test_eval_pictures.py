from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from PIL.ImageFile import ImageFile

from pgsbench.data.tar import EncodedImage
from pgsbench.data.transforms import normalise
from pgsbench.errors import DataError
from pgsbench.evaluation import embed
from pgsbench.evaluation.embed import Preprocess, decode
from pgsbench.models.transform import eval_transform

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
def test_bits_are_open_clips(
    config: dict[str, Any], kind: str, mode: str, make_picture: Callable[..., EncodedImage]
) -> None:
    size = config["size"]
    own = (size, size) if isinstance(size, int) else (size[1], size[0])
    transform = eval_transform(config)
    for sizes in ([own, own], [own, (51, 37)], [(64, 64), (20, 30)]):
        files = [make_picture(i, size, kind, mode) for i, size in enumerate(sizes)]
        expected = torch.stack([transform(decode("", file)) for file in files])

        batch = Preprocess(config)([("x", file) for file in files])

        assert torch.equal(batch, expected)
        assert batch.is_contiguous()


def test_the_fast_path_is_taken_only_where_nothing_is_resized(
    make_picture: Callable[..., EncodedImage],
) -> None:
    prepare = Preprocess(SQUARE)
    calls = []
    fit = prepare._fit
    prepare._fit = lambda picture: calls.append(picture.size) or fit(picture)

    prepare([("x", make_picture(0, (32, 32)))])
    assert calls == []
    prepare([("x", make_picture(0, (32, 33)))])
    assert calls == [(32, 33)]


def test_a_batch_of_any_sizes_is_normalised_at_once(
    make_picture: Callable[..., EncodedImage], monkeypatch: pytest.MonkeyPatch
) -> None:
    shapes = []

    def watched(pixels: torch.Tensor, *args: Any) -> torch.Tensor:
        shapes.append(tuple(pixels.shape))
        return normalise(pixels, *args)

    monkeypatch.setattr(embed, "normalise", watched)
    Preprocess(SQUARE)(
        [("x", make_picture(i, size)) for i, size in enumerate([(64, 64), (32, 32), (51, 37)])]
    )
    assert shapes == [(3, 3, 32, 32)]


def test_a_picture_in_rgb_is_not_copied(make_picture: Callable[..., EncodedImage]) -> None:
    assert isinstance(decode("", make_picture(0, (40, 30), "jpg", "RGB")), ImageFile)  # a copy is none


def test_a_damaged_picture_is_named(make_picture: Callable[..., EncodedImage]) -> None:
    cut = EncodedImage(make_picture(0).data[:60], "png")
    with pytest.raises(DataError, match="test: sample 0007: the picture cannot be decoded"):
        Preprocess(SQUARE)([("test: sample 0007", cut)])
