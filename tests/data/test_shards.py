"""The reader of training data: what it accepts, and an order that depends on the seed alone."""

from __future__ import annotations

from itertools import islice
from pathlib import Path

import pytest
import torch
from tinyworld import TinyWorld, picture, png

from pgsbench.config.schema import DataConfig
from pgsbench.data import shards
from pgsbench.data.memory import InMemory
from pgsbench.data.samples import Batch, Reader
from pgsbench.data.streaming import Streamed
from pgsbench.data.tar import write_tar
from pgsbench.errors import DataError


def lengths(texts: list[str]) -> torch.Tensor:
    """Stand in for a tokenizer: the number at the end of each caption."""
    return torch.tensor([[int(text.split()[-1])] for text in texts])


def reader(tiny: TinyWorld, *, streamed: bool = False, workers: int = 0) -> Reader:
    data = DataConfig(
        train=str(tiny.shards), augment=None, memory_limit_gib=1e-9 if streamed else 1.0, workers=workers
    )
    return open_plain(data)


def open_plain(data: DataConfig, size: int = 32) -> Reader:
    return shards.open_reader(shards.open_pairs(data), data, image_size=(size, size), tokenize=lengths)


def take(source: Reader, count: int, **options: int) -> list[Batch]:
    return list(islice(source.batches(seed=7, batch_size=8, **options), count))


def keys(batches: list[Batch]) -> list[int]:
    return [int(key) for batch in batches for key in batch.texts[:, 0]]


def test_pictures_captions_and_objects_belong_together(tiny: TinyWorld) -> None:
    source = reader(tiny)
    assert isinstance(source, InMemory)
    batch = take(source, 1)[0]
    assert batch.objects is not None
    for image, key, objects in zip(batch.images, batch.texts[:, 0], batch.objects, strict=True):
        pixels, expected, _ = picture(int(key))
        assert torch.equal(image, torch.from_numpy(pixels).permute(2, 0, 1))
        assert torch.equal(objects, torch.from_numpy(expected))


def test_an_epoch_shows_every_pair_once_and_the_next_in_another_order(tiny: TinyWorld) -> None:
    first, second = keys(take(reader(tiny), 12)), keys(take(reader(tiny), 24)[12:])
    assert sorted(first) == sorted(second) == list(range(96))
    assert first != second


def test_the_order_depends_on_the_seed_and_on_nothing_else(tiny: TinyWorld) -> None:
    torch.manual_seed(0)
    first = keys(take(reader(tiny), 3))
    torch.manual_seed(1)
    assert keys(take(reader(tiny), 3)) == first
    other = list(islice(reader(tiny).batches(seed=8, batch_size=8), 3))
    assert keys(other) != first


@pytest.mark.parametrize("streamed", [False, True], ids=["memory", "streamed"])
@pytest.mark.parametrize("start", [1, 5])
def test_a_resumed_reader_goes_on_with_the_very_next_batch(
    tiny: TinyWorld, start: int, streamed: bool
) -> None:
    whole = keys(take(reader(tiny, streamed=streamed), 8))
    assert keys(take(reader(tiny, streamed=streamed), 8 - start, start_step=start)) == whole[start * 8 :]


def test_streaming_shows_what_memory_shows(tiny: TinyWorld) -> None:
    streamed, held = reader(tiny, streamed=True), reader(tiny)
    assert isinstance(streamed, Streamed)
    for ours, theirs in zip(take(streamed, 20), take(held, 20), strict=True):
        for field in ("images", "texts", "objects", "samples", "ids"):
            assert torch.equal(getattr(ours, field), getattr(theirs, field))


@pytest.mark.parametrize("streamed", [False, True], ids=["memory", "streamed"])
def test_the_ranks_of_a_step_share_its_batch(tiny: TinyWorld, streamed: bool) -> None:
    whole = take(reader(tiny, streamed=streamed), 4, start_step=3)
    parts = [
        take(reader(tiny, streamed=streamed), 4, start_step=3, rank=rank, world_size=3) for rank in range(3)
    ]
    for step, batch in enumerate(whole):
        assert [len(part[step].images) for part in parts] == [2, 3, 3]
        assert batch.samples.tolist() == list(range((3 + step) * 8, (4 + step) * 8))
        for field in ("images", "texts", "objects", "samples", "ids"):
            joined = torch.cat([getattr(part[step], field) for part in parts])
            assert torch.equal(joined, getattr(batch, field))


@pytest.mark.parametrize("streamed", [False, True], ids=["memory", "streamed"])
def test_a_pair_has_the_same_id_whenever_it_is_seen(tiny: TinyWorld, streamed: bool) -> None:
    for batch in take(reader(tiny, streamed=streamed), 24):
        assert batch.ids.tolist() == batch.texts[:, 0].tolist()  # captions end with the number of the pair


def test_shards_without_captions_are_refused_before_anything_starts(tmp_path: Path) -> None:
    write_tar(tmp_path / "0.tar", [("a", {"png": png(picture(0)[0])})])
    with pytest.raises(DataError, match=r"no sample can be used.*'no caption': 1"):
        shards.open_pairs(str(tmp_path))


def test_a_batch_larger_than_the_data_is_refused(tiny: TinyWorld) -> None:
    with pytest.raises(DataError, match="more pairs than the 96"):
        next(reader(tiny).batches(seed=0, batch_size=128))


def test_pictures_of_another_size_are_scaled_and_cropped_with_their_objects(tmp_path: Path) -> None:
    pixels, objects, _ = picture(3, size=48)
    wide = png(pixels[:32]), png(objects[:32])
    parts = {"png": wide[0], "objects.png": wide[1], "txt": b"x 1"}
    write_tar(tmp_path / "0.tar", [(str(key), parts) for key in range(8)])
    source = open_plain(DataConfig(train=str(tmp_path), augment=None), size=16)
    batch = take(source, 1)[0]
    assert batch.images.shape == (8, 3, 16, 16)
    assert batch.objects is not None
    assert batch.objects.shape == (8, 16, 16)
    assert set(batch.objects.unique().tolist()) <= {0, 1}  # nearest: no numbers between
