"""One order for any number of ranks and readers, and after any resume: damage, crops and colours included."""

from __future__ import annotations

from itertools import islice
from types import SimpleNamespace

import faulty
import pytest
import torch

from pgsbench.config.augmentation import AugmentConfig
from pgsbench.config.schema import DataConfig
from pgsbench.data import order, shards, streaming
from pgsbench.data.samples import Batch, rank_slice
from pgsbench.data.streaming import Streamed

FIELDS = ("images", "texts", "samples", "ids")
STRONG = AugmentConfig(
    scale=(0.3, 1.0), color_jitter=(0.4, 0.4, 0.4, 0.1), color_jitter_prob=0.8, gray_scale_prob=0.2
)
BATCH = 12


def lengths(texts: list[str]) -> torch.Tensor:
    return torch.tensor([[int(text.split()[-1])] for text in texts])


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> DataConfig:
    folder = tmp_path_factory.mktemp("elastic")
    faulty.plant(folder / "a", per_shard=15)
    faulty.plant(folder / "b", per_shard=10)
    faulty.cut(folder / "a" / "2.tar", 0.7)
    return DataConfig(
        train=f"{folder}/a::{folder}/b", weights=[1, 2], augment=STRONG, max_bad_share=0.9, workers=0
    )


def opened(data: DataConfig) -> Streamed:
    reader = shards.open_reader(shards.open_pairs(data), data, image_size=(16, 16), tokenize=lengths)
    assert isinstance(reader, Streamed)
    return reader


def read(data: DataConfig, steps: int, *, readers: int, start: int, rank: int, world: int) -> list[Batch]:
    """Read as `readers` processes would, without starting them."""
    found: list[Batch] = []
    part = rank_slice(BATCH, rank, world)
    with pytest.MonkeyPatch.context() as patch:
        sources = []
        for number in range(readers):
            info = SimpleNamespace(id=number, num_workers=readers)
            patch.setattr(streaming, "get_worker_info", lambda info=info: info)
            batches = iter(streaming._Source(opened(data), 7, BATCH, start, part))
            first = next(batches)
            sources.append((first, batches))
        firsts = [first for first, _ in sources]
        for step in range(steps):
            batches = sources[step % readers][1]
            found.append(firsts[step] if step < readers else next(batches))
    return found


@pytest.fixture(scope="module")
def whole(data: DataConfig) -> list[Batch]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(order, "BLOCK_SAMPLES", 20)
        return list(islice(opened(data).batches(seed=7, batch_size=BATCH), 12))


@pytest.mark.parametrize("world", [1, 2, 4])
@pytest.mark.parametrize("readers", [1, 3])
@pytest.mark.parametrize("start", [0, 5])
def test_ranks_readers_and_resumes_see_one_order(
    data: DataConfig,
    whole: list[Batch],
    world: int,
    readers: int,
    start: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(order, "BLOCK_SAMPLES", 20)
    parts = [read(data, 5, readers=readers, start=start, rank=rank, world=world) for rank in range(world)]
    for step in range(5):
        for field in FIELDS:
            joined = torch.cat([getattr(part[step], field) for part in parts])
            assert torch.equal(joined, getattr(whole[start + step], field)), (step, field)
        assert sum((part[step].faults for part in parts), ()) == whole[start + step].faults
    assert any(batch.faults for batch in whole)


def test_reader_processes_read_what_the_training_itself_would(data: DataConfig) -> None:
    of_processes = data.model_copy(update={"workers": 3})
    options = {"seed": 7, "batch_size": BATCH, "start_step": 4, "rank": 1, "world_size": 2}
    ours = list(islice(opened(of_processes).batches(**options), 4))
    theirs = list(islice(opened(data).batches(**options), 4))
    for one, other in zip(ours, theirs, strict=True):
        assert all(torch.equal(getattr(one, field), getattr(other, field)) for field in FIELDS)
        assert one.faults == other.faults
