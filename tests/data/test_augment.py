"""What training does to pictures: open_clip's own transform, drawn for each place of the stream."""

from __future__ import annotations

import io
import random

import faulty
import numpy as np
import open_clip
import pytest
import torch
from PIL import Image
from tinyworld import TinyWorld, picture, png

from pgsbench.config.data import AugmentConfig, DataConfig
from pgsbench.data import shards
from pgsbench.data.transforms import Transform

STRONG = AugmentConfig(
    scale=(0.2, 1.0), color_jitter=(0.4, 0.4, 0.4, 0.1), color_jitter_prob=0.8, gray_scale_prob=0.3
)


@pytest.mark.parametrize("augment", [AugmentConfig(), STRONG], ids=["default", "strong"])
@pytest.mark.filterwarnings("ignore:Unused augmentation")
def test_with_the_same_draws_pixels_are_open_clips(augment: AugmentConfig) -> None:
    theirs = open_clip.image_transform(
        (32, 48), is_train=True, mean=(0, 0, 0), std=(1, 1, 1), aug_cfg=augment.model_dump(exclude={"ratio"})
    )
    ours = Transform((32, 48), augment)
    for seed in range(15):
        data = faulty.jpeg(seed, (60 + seed, 90 - seed))
        torch.manual_seed(seed)
        random.seed(seed)
        expected = theirs(Image.open(io.BytesIO(data)).convert("RGB"))
        pixels, _ = ours(data, None, seed)
        assert torch.equal(torch.from_numpy(pixels.transpose(2, 0, 1).copy()) / 255, expected)


def test_without_augmentation_pixels_are_those_of_its_evaluation() -> None:
    theirs = open_clip.image_transform(32, is_train=False, mean=(0, 0, 0), std=(1, 1, 1))
    for seed in range(10):
        data = faulty.jpeg(seed, (60 + seed, 90 - seed))
        pixels, _ = Transform((32, 32))(data, None, seed)
        expected = theirs(Image.open(io.BytesIO(data)))
        assert torch.equal(torch.from_numpy(pixels.transpose(2, 0, 1).copy()) / 255, expected)


def test_objects_are_cropped_along() -> None:
    for seed in range(10):
        pixels, objects, _ = picture(seed, size=64)
        pixels[objects == 1], pixels[objects == 0] = 255, 0
        shown, found = Transform((32, 32), STRONG.model_copy(update={"color_jitter_prob": 0.0}))(
            png(pixels), png(objects), seed
        )
        assert found is not None
        assert ((shown[..., 0] > 127) == (found == 1)).mean() > 0.95


def test_scaling_in_the_decoder_gives_nearly_the_same_picture() -> None:
    smooth = Image.fromarray(np.random.default_rng(0).integers(0, 256, (3, 4, 3), dtype=np.uint8))
    file = io.BytesIO()
    smooth.resize((640, 480), Image.Resampling.BICUBIC).save(file, "jpeg", quality=95)
    for augment in (None, STRONG, AugmentConfig()):
        for seed in range(5):
            exact, _ = Transform((32, 32), augment)(file.getvalue(), None, seed)
            scaled, _ = Transform((32, 32), augment, scaled_decoding=True)(file.getvalue(), None, seed)
            assert 0 < np.abs(exact.astype(int) - scaled).mean() < 4


def test_worlds_stay_as_they_were_painted(tiny: TinyWorld) -> None:
    assert shards.reading(DataConfig(train="scenes")) == {}
    assert shards.reading(DataConfig(train=str(tiny.shards)))["augment"]["scale"] == [0.9, 1.0]
