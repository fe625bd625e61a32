"""The benchmark of reading times equal work: what each loader gives is what the other one gives."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from tinyworld import TinyWorld

from benchmarks import decoding, first_batch
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


def test_each_decoder_is_timed_on_the_same_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decoding, "KINDS", {"small": (100, 100, 2)})
    table = decoding.costs(count=2, rounds=1)
    assert {"Pillow", "torchvision.io"} <= set(table["decoder"])
    assert set(table["pixels"]) <= {"equal", "other"}
    assert table["pixels"][0] == "equal"


def test_a_first_batch_is_timed_with_and_without_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PGSBENCH_DATA", str(tmp_path / "data"))  # and put back
    first_batch.make(tmp_path / "made", 2)
    for counts in (True, False):
        if not counts:
            (tmp_path / "made" / "sizes.json").unlink()
        found = first_batch.ours(tmp_path / "made", tmp_path / f"data-{counts}", 8, workers=0)
        assert 0 < found["open s"] < found["first batch s"]
    theirs = first_batch.theirs(tmp_path / "made", tmp_path, 8, num_samples=200)
    assert theirs["first batch s"] > 0
