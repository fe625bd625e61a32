"""The benchmark of reading times equal work: what each loader gives is what the other one gives."""

from __future__ import annotations

import torch
from tinyworld import TinyWorld

from benchmarks.data import _loaders, data_costs
from pgsbench.data.transforms import normalise
from pgsbench.models.clip import build


def test_all_loaders_give_normalised_pictures_and_ids(tiny: TinyWorld) -> None:
    found = {name: run() for name, run in _loaders(str(tiny.shards), (32, 32), 16).items()}
    clip = build("tiny-vit", seed=0)
    black, white = (
        normalise(torch.full((1, 3, 1, 1), level, dtype=torch.uint8), clip.mean, clip.std)
        for level in (0, 255)
    )
    assert len(found) == 3
    for name, (images, texts) in found.items():  # type: ignore[misc]
        assert (images.shape, images.dtype) == ((16, 3, 32, 32), torch.float32), name
        assert (texts.shape, texts.dtype) == ((16, 24), torch.int64), name
        assert bool((images >= black - 1e-6).all() and (images <= white + 1e-6).all()), name
        assert images.min() < 0 < images.max(), name
        assert images.is_contiguous(), name


def test_what_is_timed_is_told_with_ratios(tiny: TinyWorld) -> None:
    table = data_costs(str(tiny.shards), image_size=32, batch_size=8, rounds=1)
    assert list(table["loader"]) == ["open_clip_train", "pgsbench", "pgsbench, data.scaled_decoding"]
    assert table["of open_clip_train's"][0] == 1
    assert (table["of open_clip_train's"] > 0).all()
