"""Damaged samples: found, counted by reason, replaced in a way that repeats, and no more than is allowed."""

from __future__ import annotations

import io
from collections import Counter
from itertools import islice
from pathlib import Path

import faulty
import pytest
import torch
from PIL import Image

from pgsbench.config.data import DataConfig
from pgsbench.data import damage, shards
from pgsbench.data.damage import Damage, UnusableError, check_picture, open_picture
from pgsbench.data.index import index_of
from pgsbench.data.samples import Batch, Fault
from pgsbench.data.tar import CUT, NO_ARCHIVE, TWICE, read_tar, write_tar
from pgsbench.errors import DataError


def config(folder: Path, *, streamed: bool = True) -> DataConfig:
    limit = 1e-9 if streamed else 1.0
    return DataConfig(train=str(folder), augment=None, max_bad_share=0.9, workers=0, memory_limit_gib=limit)


def read(data: DataConfig, steps: int, **options: int) -> list[Batch]:
    return list(islice(faulty.reader(data).batches(seed=1, batch_size=16, **options), steps))


def counted(batches: list[Batch], account: Damage) -> dict[str, int]:
    for fault in (fault for batch in batches for fault in batch.faults):
        account.add(fault)
    return account.counts


def ids(batches: list[Batch]) -> set[int]:
    return {int(number) for batch in batches for number in batch.ids}


@pytest.fixture
def planted(tmp_path: Path) -> tuple[Path, dict[str, int]]:
    counts = faulty.plant(tmp_path / "train")
    faulty.cut(tmp_path / "train" / "2.tar", 0.6)
    return tmp_path / "train", counts


def test_each_kind_of_picture_is_told_before_decoding() -> None:
    for data, reason in (
        (b"", damage.EMPTY),
        (b"GIF8nonsense", damage.NO_IMAGE),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", damage.NO_IMAGE),  # a program, for Ghostscript
        (faulty.bomb(100_000, 100_000), damage.TOO_LARGE),
        (faulty.bomb(1, 5000), damage.TOO_LARGE),  # at a model's size it takes a gigabyte
        (faulty.jpeg(1)[:-200], damage.TRUNCATED),
        (faulty.jpeg(1)[:300], damage.DAMAGED),
    ):
        with pytest.raises(UnusableError, match=reason):
            check_picture(data)
    check_picture(faulty.jpeg(1))
    check_picture(faulty.jpeg(1) + b"\0" * 9000)  # something behind a whole picture does no harm
    for kind in ("png", "webp", "gif", "bmp"):
        file = io.BytesIO()
        Image.new("RGB", (30, 20)).save(file, kind)
        assert open_picture(file.getvalue()).size == (30, 20)
        check_picture(file.getvalue())


def test_every_sample_is_accounted_for(planted: tuple[Path, dict[str, int]]) -> None:
    folder, counts = planted
    data = config(folder)
    pairs = shards.open_pairs(data)
    batches = read(data, 3 * len(pairs) // 16 + 1)
    found = counted(batches, pairs.damage(data.max_bad_share))
    assert set(found) == {*counts, CUT}  # eight kinds
    assert len(ids(batches)) + sum(found.values()) == len(pairs)
    assert not shards.verify(str(folder))[0] - len(ids(batches))
    for shard in ("0.tar", "1.tar"):
        index = index_of(str(folder / shard))
        assert index.keys == [key for key, _ in read_tar(folder / shard)]
        assert {int(index.keys[place]) % 5 for place in index.faults} == {3}  # those that were planted


@pytest.mark.parametrize("streamed", [True, False], ids=["streamed", "memory"])
def test_stand_ins_are_the_same_for_ranks_and_for_a_resume(
    planted: tuple[Path, dict[str, int]], streamed: bool
) -> None:
    whole = read(config(planted[0]), 8)
    data = config(planted[0], streamed=streamed)
    parts = [read(data, 5, start_step=3, rank=rank, world_size=2) for rank in range(2)]
    for step, batch in enumerate(whole[3:]):
        for field in ("images", "texts", "ids", "samples"):
            joined = torch.cat([getattr(part[step], field) for part in parts])
            assert torch.equal(joined, getattr(batch, field))
    damaged = {fault.id for batch in whole for fault in batch.faults}
    assert damaged
    assert not damaged & ids(whole)


def test_a_vanished_shard_is_counted(planted: tuple[Path, dict[str, int]]) -> None:
    folder, _ = planted
    data = config(folder)
    pairs = shards.open_pairs(data)
    reader = faulty.reader(data)
    (folder / "0.tar").unlink()
    batches = list(islice(reader.batches(seed=1, batch_size=16), 3 * len(pairs) // 16 + 1))
    assert counted(batches, pairs.damage(1.0))[damage.VANISHED] == pairs.sizes[0]
    assert min(ids(batches)) >= pairs.sizes[0]


def test_too_much_damage_stops_the_run_and_says_where() -> None:
    account = Damage(100, 0.02)
    for number in (1, 2, 2, 1):
        account.add(Fault(number, damage.DAMAGED, f"0.tar:{number}"))
    with pytest.raises(DataError, match=r"0\.tar:3: 3 of 100 samples .* allows: 3 damaged picture"):
        account.add(Fault(3, damage.DAMAGED, "0.tar:3"))


def test_the_account_goes_on_where_a_killed_training_left_it(tmp_path: Path) -> None:
    path = tmp_path / "damage.jsonl"

    def kept(*faults: Fault, writes: bool = True) -> Damage:
        account = Damage(100, 1.0)
        account.keep_in(path, writes=writes)
        for fault in faults:
            account.add(fault)
        return account

    kept(Fault(4, damage.DAMAGED, "0.tar:4"))
    again = kept(Fault(4, damage.DAMAGED, "0.tar:4"), Fault(5, damage.VANISHED, "1.tar:5"))
    assert again.counts == {damage.DAMAGED: 1, damage.VANISHED: 1}
    other_rank = kept(Fault(6, damage.DAMAGED, "1.tar:6"), writes=False)
    assert sorted(other_rank.replaced) == [4, 5, 6]
    assert len(path.read_text().splitlines()) == 2
    path.write_text(path.read_text()[:-5])  # torn: its sample counts when it is met again
    kept(Fault(7, damage.DAMAGED, "1.tar:7"))
    assert sorted(kept().replaced) == [4, 7]


def test_what_is_no_archive_and_keys_used_twice_are_counted(tmp_path: Path) -> None:
    parts = {"jpg": faulty.jpeg(0), "txt": b"x 1"}
    write_tar(tmp_path / "0.tar", [(key, parts) for key in "abacc"])
    (tmp_path / "1.tar").write_bytes(b"")
    (tmp_path / "2.tar").write_bytes(b"this is no archive" * 100)
    usable, faults = shards.verify(str(tmp_path))
    assert (usable, Counter(reason for _, reason in faults)) == (2, {TWICE: 2, NO_ARCHIVE: 2})
