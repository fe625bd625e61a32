"""Data in memory: decoded once, kept in the data folder and shared, with several captions to a picture."""

from __future__ import annotations

from collections import defaultdict
from itertools import islice
from pathlib import Path
from typing import Any

import faulty
import pytest
import torch
from tinyworld import TinyWorld

from pgsbench.config.data import DataConfig
from pgsbench.data import damage, memory, store
from pgsbench.data.samples import Reader
from pgsbench.data.tar import write_tar
from pgsbench.errors import DataError


@pytest.fixture(autouse=True)
def own_data_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PGSBENCH_DATA", str(tmp_path / "data"))


def opened(folder: Path, *, limit: float = 1.0, **options: Any) -> Reader:
    data = DataConfig(train=str(folder), augment=None, workers=0, memory_limit_gib=limit)
    return faulty.reader(data, 16, **options)


def test_pictures_are_decoded_once_and_kept(tiny: TinyWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[Any] = []
    first = opened(tiny.shards, progress=lambda *now: told.append(now))
    assert {("decoding pictures", 96, 96), ("tokenising captions", 96, 96)} <= set(told)
    monkeypatch.setattr(memory, "_decode", None)  # would fail if it were called
    monkeypatch.setattr(memory, "_tokenise", None)
    second = opened(tiny.shards)
    assert isinstance(first, memory.InMemory)
    assert isinstance(second, memory.InMemory)
    assert torch.equal(first.images, second.images)
    first.images[0] = 7  # one process cannot change what others see
    assert not torch.equal(first.images, second.images)
    assert len(list((store.root() / "decoded").glob("*/images.npy"))) == 1


def test_one_of_several_captions_is_drawn_anew_each_time(tmp_path: Path) -> None:
    (tmp_path / "train").mkdir()
    texts = [{"captions.txt": f"first {n}\nsecond {n + 100}\n".encode()} for n in range(20)]
    samples = [(str(n), {"jpg": faulty.jpeg(n), **text}) for n, text in enumerate([*texts, {"txt": b"x 20"}])]
    write_tar(tmp_path / "train" / "0.tar", samples)
    held, streamed = opened(tmp_path / "train"), opened(tmp_path / "train", limit=1e-9)
    seen: dict[int, set[int]] = defaultdict(set)
    both = (islice(reader.batches(seed=0, batch_size=7), 30) for reader in (held, streamed))
    for one, other in zip(*both, strict=True):
        assert torch.equal(one.texts, other.texts)
        for number, text in zip(one.ids.tolist(), one.texts[:, 0].tolist(), strict=True):
            assert text % 100 == number
            seen[number].add(text)
    assert seen.pop(20) == {20}
    assert sum(len(found) == 2 for found in seen.values()) > 15


@pytest.mark.parametrize("step", ["_decode", "_tokenise"])
def test_a_shard_out_of_reach_for_a_moment_is_not_remembered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    folder, away = tmp_path / "train", tmp_path / "away.tar"
    folder.mkdir()
    for shard in range(2):
        files = [{"jpg": faulty.jpeg(10 * shard + number)} for number in range(9)]
        files.append({"png": faulty.damaged_inside(shard)})
        samples = [(f"{shard}{n}", {**file, "txt": b"x 7"}) for n, file in enumerate(files)]
        write_tar(folder / f"{shard}.tar", samples)
    whole = getattr(memory, step)

    def in_an_outage(*inputs: Any) -> None:
        (folder / "1.tar").rename(away)
        try:
            whole(*inputs)
        finally:
            away.rename(folder / "1.tar")

    said = r"1\.tar: shard vanished while its pairs were read(.|\n)*goes on"
    with monkeypatch.context() as patch:
        patch.setattr(memory, step, in_an_outage)
        with pytest.raises(DataError, match=said):
            opened(folder)
    reader = opened(folder)
    assert isinstance(reader, memory.InMemory)
    reasons = {fault.id: fault.reason for fault in reader.faults.values()}
    assert reasons == {9: damage.DAMAGED, 19: damage.DAMAGED}
    assert reader.texts.tolist() == [[7]] * 20
