"""Masks for a loop of one's own are those of the tower, and what they cannot be is said."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from pgsbench.errors import ConfigError, DataError, UserError
from pgsbench.masking.apply import mask
from pgsbench.masking.configure import configure
from pgsbench.masking.random import Random
from pgsbench.models.clip import build
from pgsbench.models.masked_tower import attach


def pictures(side: int = 32) -> torch.Tensor:
    return torch.randint(0, 256, (4, 3, side, side), generator=torch.Generator().manual_seed(0)).byte()


@pytest.mark.parametrize(
    ("name", "fields"),
    [
        ("pgs", {}),
        ("pgs", {"mask_ratio": 0.3, "max_ratio": 0.5}),
        ("random", {}),
        ("none", {}),
        ("oracle", {}),
        ("cluster", {"threshold": 0.0}),
        ("pgs-released", {}),
    ],
)
def test_they_are_the_masks_of_the_tower(name: str, fields: dict[str, Any]) -> None:
    from pgsbench.data.transforms import normalise

    clip, images = build("tiny-vit", seed=0), pictures()
    objects = torch.zeros(4, 32, 32, dtype=torch.uint8)
    objects[:, 8:24, 8:20] = 1
    masking = attach(clip.model, configure(name, fields))
    clip.model.train()
    masking.begin_step(seed=7, step=0, objects=objects)
    clip.model.encode_image(normalise(images, clip.mean, clip.std))  # type: ignore[operator]
    ours = mask(images, name, patch_size=8, seed=7, objects=objects, **fields)
    assert ours.grid == (4, 4)
    assert masking.last is not None
    assert torch.equal(ours.keep, masking.last.keep)
    assert torch.equal(ours.shown, masking.shown(4))
    assert torch.equal(torch.zeros(4, 16, dtype=torch.bool).scatter(1, ours.keep, ours.visible), ours.shown)


def test_shares_are_bytes_over_255_and_the_ratio_counts() -> None:
    images = pictures(64)
    whole = mask(images, "pgs", mask_ratio=0.75)
    assert whole.keep.shape == (4, 4)
    assert torch.equal(mask(images.float() / 255, "pgs", mask_ratio=0.75).keep, whole.keep)
    assert torch.equal(
        mask(images, Random(0.75), seed=3).keep, mask(images, "random", mask_ratio=0.75, seed=3).keep
    )
    assert not torch.equal(mask(images, "random", seed=3).keep, mask(images, "random", seed=4).keep)


@pytest.mark.parametrize(
    ("arguments", "kind", "said"),
    [
        ({"strategy": "attentive"}, ConfigError, "inside an image tower"),
        ({"strategy": "resize"}, ConfigError, "inside an image tower"),
        ({"strategy": "oracle"}, DataError, "objects: .* where the objects are"),
        ({"strategy": Random(), "ratio": 0.3}, ConfigError, "is made already"),
        ({"token_wait": 1.0}, ConfigError, "did you mean 'token_weight'"),
        ({"images": torch.randn(2, 3, 32, 32)}, ConfigError, r"images: must be"),
        ({"images": torch.full((2, 3, 32, 32), torch.nan)}, ConfigError, r"images: must be"),
        ({"images": pictures().numpy()}, ConfigError, r"images: must be"),
        ({"patch_size": 64}, ConfigError, "holds a"),
    ],
)
def test_mistakes_are_told(arguments: dict[str, Any], kind: type[UserError], said: str) -> None:
    with pytest.raises(kind, match=said):
        mask(**({"images": pictures(), "patch_size": 8} | arguments))
