"""The reader of training data: one order, in memory or streamed, for any number of ranks and readers."""

from __future__ import annotations

import os
import subprocess
import sys
from itertools import islice
from pathlib import Path
from types import SimpleNamespace

import faulty
import pytest
import torch
from tinyworld import TinyWorld, picture, png

from pgsbench.config.data import AugmentConfig, DataConfig
from pgsbench.data import order, shards, streaming
from pgsbench.data.memory import InMemory
from pgsbench.data.samples import Batch, Reader, rank_slice
from pgsbench.data.streaming import Streamed
from pgsbench.data.tar import write_tar
from pgsbench.errors import DataError
from pgsbench.models.clip import build

STRONG = AugmentConfig(
    scale=(0.3, 1.0), color_jitter=(0.4, 0.4, 0.4, 0.1), color_jitter_prob=0.8, gray_scale_prob=0.2
)
BATCH = 12


def reader(tiny: TinyWorld, *, streamed: bool = False) -> Reader:
    limit = 1e-9 if streamed else 1.0
    return faulty.reader(
        DataConfig(train=str(tiny.shards), augment=None, memory_limit_gib=limit, workers=0), 32
    )


def take(source: Reader, count: int, **options: int) -> list[Batch]:
    return list(islice(source.batches(**{"seed": 7, "batch_size": 8, **options}), count))


def ids(batches: list[Batch]) -> list[int]:
    return [int(number) for batch in batches for number in batch.ids]


def same(one: Batch, other: Batch) -> bool:
    fields = ("images", "texts", "samples", "ids")
    return all(torch.equal(getattr(one, field), getattr(other, field)) for field in fields)


@pytest.mark.parametrize("streamed", [False, True], ids=["memory", "streamed"])
def test_pictures_captions_and_objects_belong_together(tiny: TinyWorld, streamed: bool) -> None:
    source = reader(tiny, streamed=streamed)
    assert isinstance(source, Streamed if streamed else InMemory)
    for batch in take(source, 24):
        assert batch.ids.tolist() == batch.texts[:, 0].tolist()
        for image, number, objects in zip(batch.images, batch.ids, batch.objects, strict=True):
            pixels, expected, _ = picture(int(number))
            assert torch.equal(image, torch.from_numpy(pixels).permute(2, 0, 1))
            assert torch.equal(objects, torch.from_numpy(expected))


def test_an_epoch_shows_every_pair_once_and_the_seed_alone_decides_the_order(tiny: TinyWorld) -> None:
    torch.manual_seed(0)
    both = ids(take(reader(tiny), 24))
    assert sorted(both[:96]) == sorted(both[96:]) == list(range(96))
    assert both[:96] != both[96:]
    torch.manual_seed(1)
    assert ids(take(reader(tiny, streamed=True), 24)) == both
    assert ids(take(reader(tiny), 12, seed=8)) != both[:96]


def test_the_ranks_of_a_step_share_its_batch(tiny: TinyWorld) -> None:
    whole = take(reader(tiny), 4, start_step=3)
    parts = [take(reader(tiny), 4, start_step=3, rank=rank, world_size=3) for rank in range(3)]
    for step, batch in enumerate(whole):
        assert [len(part[step].images) for part in parts] == [2, 3, 3]
        assert batch.samples.tolist() == list(range((3 + step) * 8, (4 + step) * 8))
        assert torch.cat([part[step].ids for part in parts]).equal(batch.ids)


@pytest.fixture(scope="module")
def mixed(tmp_path_factory: pytest.TempPathFactory) -> DataConfig:
    folder = tmp_path_factory.mktemp("mixed")
    faulty.plant(folder / "a", per_shard=15)
    faulty.plant(folder / "b", per_shard=10)
    faulty.cut(folder / "a" / "2.tar", 0.7)
    return DataConfig(
        train=f"{folder}/a::{folder}/b", weights=[1, 2], augment=STRONG, max_bad_share=0.9, workers=0
    )


def read(data: DataConfig, steps: int, *, readers: int, start: int, part: slice) -> list[Batch]:
    """Read as `readers` processes would, without starting them."""
    sources, firsts = [], []
    with pytest.MonkeyPatch.context() as patch:
        for number in range(readers):
            info = SimpleNamespace(id=number, num_workers=readers)
            patch.setattr(streaming, "get_worker_info", lambda info=info: info)
            sources.append(iter(streaming._Source(faulty.reader(data, 16), 7, BATCH, start, part)))
            firsts.append(next(sources[-1]))
        return [firsts[n] if n < readers else next(sources[n % readers]) for n in range(steps)]


@pytest.mark.parametrize(("world", "readers", "start"), [(1, 3, 0), (2, 1, 5), (4, 3, 5)])
def test_ranks_readers_and_resumes_see_one_order(
    mixed: DataConfig, world: int, readers: int, start: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(order, "BLOCK_SAMPLES", 20)
    whole = take(faulty.reader(mixed, 16), 12, batch_size=BATCH)[start:]
    slices = [rank_slice(BATCH, rank, world) for rank in range(world)]
    parts = [read(mixed, 5, readers=readers, start=start, part=part) for part in slices]
    for step in range(5):
        for field in ("images", "texts", "samples", "ids"):
            joined = torch.cat([getattr(part[step], field) for part in parts])
            assert torch.equal(joined, getattr(whole[step], field)), (step, field)
        assert sum((part[step].faults for part in parts), ()) == whole[step].faults
    assert any(batch.faults for batch in whole)


def test_reader_processes_read_what_the_training_itself_would(mixed: DataConfig) -> None:
    options = {"batch_size": BATCH, "start_step": 4, "rank": 1, "world_size": 2}
    ours = take(faulty.reader(mixed.model_copy(update={"workers": 2}), 16), 4, **options)
    theirs = take(faulty.reader(mixed, 16), 4, **options)
    assert all(map(same, ours, theirs))
    assert [batch.faults for batch in ours] == [batch.faults for batch in theirs]


#: In a process of its own: tests fork their readers from a process that has loaded all.
READS = """
import sys

import faulty

from pgsbench.config.data import DataConfig
from pgsbench.data import shards

if __name__ == "__main__":
    data = DataConfig(train=sys.argv[1], workers=1)
    reader = shards.open_reader(shards.open_pairs(data), data, image_size=(32, 32), tokenize=faulty.loaded)
    print(next(reader.batches(seed=0, batch_size=8)).texts.any().item())
"""


def test_a_reader_process_loads_no_more_than_it_needs(tiny: TinyWorld, tmp_path: Path) -> None:
    script = tmp_path / "reads.py"
    script.write_text(READS)
    here = Path(__file__).parent
    path = os.pathsep.join(map(str, [here, here.parent, Path(shards.__file__).parents[2]]))
    done = subprocess.run(
        [sys.executable, script, tiny.shards],
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout.split() == ["False"], done.stderr


def test_a_reader_process_has_the_tokens_of_the_model(tiny: TinyWorld) -> None:
    data = DataConfig(train=str(tiny.shards), workers=1)
    clip, pairs = build("tiny-vit", seed=0), shards.open_pairs(data)
    here = shards.open_reader(pairs, data, image_size=(32, 32), tokenize=clip.tokenize)
    (batch,), (same_batch,) = take(here, 1), take(shards.in_process(here), 1)
    assert same(batch, same_batch)


def test_what_binds_is_told_in_words() -> None:
    shown, held = DataConfig(train="DATA"), DataConfig(train="scenes")
    pace = 10 * shards.ASSUMED_PAIRS
    assert shards.told_of_reading(pace, shown, 10, None).endswith("computation binds.")
    told = shards.told_of_reading(pace, shown, 4, None)
    assert "reading binds, and training takes 2.5 times as long. 10 would keep pace" in told
    assert "gives 59 (timed on this machine)" in shards.told_of_reading(pace, shown, 20, 59.0)
    assert not shards.told_of_reading(pace, held, 1, None)


def test_a_reader_is_timed_on_the_first_shard_unless_it_is_elsewhere(tiny: TinyWorld) -> None:
    tokenize = build("tiny-vit", seed=0).tokenize
    there = shards.reader_pace(DataConfig(train=str(tiny.shards)), (32, 32), tokenize)
    assert there is not None
    assert there > 0
    assert shards.reader_pace(DataConfig(train="s3://nowhere/0.tar"), (32, 32), tokenize) is None
    assert shards.reader_pace(DataConfig(train="/nowhere/0.tar"), (32, 32), tokenize) is None


def test_what_gives_no_batch_is_refused(tiny: TinyWorld, tmp_path: Path) -> None:
    write_tar(tmp_path / "0.tar", [("a", {"png": png(picture(0)[0])})])
    with pytest.raises(DataError, match=r"no sample can be used.*'no caption': 1"):
        shards.open_pairs(str(tmp_path))
    with pytest.raises(DataError, match="more pairs than the 96"):
        take(reader(tiny), 1, batch_size=128)
