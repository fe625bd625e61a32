"""The reader of training data: what it accepts, and an order that depends on the seed alone."""

from __future__ import annotations

import re
from itertools import islice
from pathlib import Path

import pytest
import torch
from tinyworld import TinyWorld, picture, png

from pgsbench.data import shards
from pgsbench.data.memory import InMemory
from pgsbench.data.samples import Batch, Reader
from pgsbench.data.streaming import StreamedShards
from pgsbench.data.tar import write_tar
from pgsbench.errors import DataError


def lengths(texts: list[str]) -> torch.Tensor:
    """Stand in for a tokenizer: the number at the end of each caption."""
    return torch.tensor([[int(text.split()[-1])] for text in texts])


def reader(tiny: TinyWorld, *, streamed: bool = False, workers: int = 2) -> Reader:
    return shards.open_reader(
        shards.resolve(str(tiny.shards)),
        image_size=(32, 32),
        tokenize=lengths,
        memory_limit_gib=1e-9 if streamed else 1.0,
        workers=workers,
    )


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


def test_streaming_shows_every_pair_and_uses_no_more_workers_than_shards(tiny: TinyWorld) -> None:
    source = reader(tiny, streamed=True, workers=8)
    assert isinstance(source, StreamedShards)
    assert sorted(keys(take(source, 12))) == list(range(96))


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


def test_patterns_name_shards(tiny: TinyWorld) -> None:
    by_pattern = shards.resolve(f"{tiny.shards}/{{00000..00002}}.tar")
    assert by_pattern == shards.resolve(str(tiny.shards)) == shards.resolve(f"{tiny.shards}/*.tar")
    assert shards.resolve(f"{tiny.shards}/00000.tar::{tiny.shards}/00001.tar") == by_pattern[:2]


@pytest.mark.parametrize(
    ("train", "said"),
    [
        ("{folder}/{00000..00004}.tar", "2 of 5 shards are missing"),
        ("{folder}/nothing/*.tar", "no shards here"),
        ("scene", "did you mean 'scenes'"),
    ],
)
def test_missing_shards_are_named(tiny: TinyWorld, train: str, said: str) -> None:
    with pytest.raises(DataError, match=said):
        shards.resolve(train.replace("{folder}", str(tiny.shards)))


def test_a_shard_without_captions_is_refused_before_anything_starts(tmp_path: Path) -> None:
    write_tar(tmp_path / "0.tar", [("a", {"png": png(picture(0)[0])})])
    with pytest.raises(DataError, match=r"no sample has a picture and a caption.*'png'"):
        shards.preflight(tmp_path / "0.tar")


def test_an_unreadable_shard_is_named(tmp_path: Path) -> None:
    (tmp_path / "0.tar").write_bytes(b"this is no archive")
    with pytest.raises(DataError, match=r"0\.tar: the archive cannot be read"):
        shards.preflight(tmp_path / "0.tar")


def test_a_damaged_picture_is_named(tmp_path: Path) -> None:
    write_tar(tmp_path / "0.tar", [("a", {"png": png(picture(0)[0])[:60], "txt": b"x 1"})])
    with pytest.raises(DataError, match=r"0\.tar:a: an image cannot be decoded"):
        shards.open_reader(
            [tmp_path / "0.tar"], image_size=(32, 32), tokenize=lengths, memory_limit_gib=1, workers=1
        )


def test_a_batch_larger_than_the_data_is_refused(tiny: TinyWorld) -> None:
    with pytest.raises(DataError, match="more pairs than the 96"):
        next(reader(tiny).batches(seed=0, batch_size=128))


def test_pictures_of_another_size_are_scaled_and_cropped_with_their_objects(tmp_path: Path) -> None:
    pixels, objects, _ = picture(3, size=48)
    wide = png(pixels[:32]), png(objects[:32])
    parts = {"png": wide[0], "objects.png": wide[1], "txt": b"x 1"}
    write_tar(tmp_path / "0.tar", [(str(key), parts) for key in range(8)])
    source = shards.open_reader(
        [tmp_path / "0.tar"], image_size=(16, 16), tokenize=lengths, memory_limit_gib=1, workers=1
    )
    batch = take(source, 1)[0]
    assert batch.images.shape == (8, 3, 16, 16)
    assert batch.objects is not None
    assert batch.objects.shape == (8, 16, 16)
    assert set(batch.objects.unique().tolist()) <= {0, 1}  # nearest: no numbers between


@pytest.mark.parametrize(
    ("pattern", "names"),
    [
        ("x/{08..11}.tar", ["x/08.tar", "x/09.tar", "x/10.tar", "x/11.tar"]),
        ("{a,b/{0..1}}.tar", ["a.tar", "b/0.tar", "b/1.tar"]),
        ("x/{0}.tar", ["x/{0}.tar"]),
    ],
)
def test_braces_stand_for_names(pattern: str, names: list[str]) -> None:
    assert [str(path) for path in shards._expand(pattern)] == names


@pytest.mark.parametrize(
    ("train", "said"),
    [
        ("x/{00000..99999999999}.tar", "the braces stand for more than 1,000,000 shards"),
        ("x/{0..999}/{0..999}/{0..999}.tar", "the braces stand for more than"),
        ("x/" + "{a,b}" * 60, "the braces stand for more than"),
        ("x/" + "{{a,b},c,{d}}" * 60, "the braces stand for more than"),
        ("x/" + "{" * 10_000, "the braces stand for more than"),
        ("x/" + "{" * 1200 + "}" * 1200, "every `{` needs its `}`"),
        ("x/{00000..00010.tar", "every `{` needs its `}`"),
        (f"x/{{0..{'9' * 5000}}}.tar", "the braces stand for more than"),
        (f"{'x' * 300}.tar", "the shards cannot be looked for: File name too long"),
    ],
)
@pytest.mark.timeout(60)  # written out, such patterns take minutes or all memory
def test_a_pattern_that_stands_for_too_much_is_refused(train: str, said: str) -> None:
    with pytest.raises(DataError, match=re.escape(said)):
        shards.resolve(train)
