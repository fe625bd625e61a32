"""`pgsbench bench data` times equal work: what each loader gives is what the other one gives."""

from __future__ import annotations

import torch
from tinyworld import TinyWorld

from pgsbench.data.transforms import normalise
from pgsbench.inspection import data_costs
from pgsbench.models.clip import build


def test_all_loaders_give_normalised_pictures_and_ids(tiny: TinyWorld) -> None:
    found = {name: run() for name, run in data_costs._loaders(str(tiny.shards), (32, 32), 16).items()}
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
    threads: list[int] = []
    torch.set_num_threads(2)
    try:
        table = data_costs.bench_data(
            str(tiny.shards),
            image_size=32,
            batch_size=8,
            rounds=1,
            progress=lambda *_: threads.append(torch.get_num_threads()),
        )
        assert set(threads) == {1}, "waiting threads would count as work"
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(1)
    assert [row[0] for row in table.cells()] == [
        "open_clip_train",
        "pgsbench",
        "pgsbench, data.scaled_decoding",
    ]
    assert table.cells()[0][2] == "1.00"
    assert all(float(row[2]) > 0 for row in table.cells())
