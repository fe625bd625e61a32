"""Damaged samples: found, counted by reason, replaced in a way that repeats, and no more than is allowed."""

from __future__ import annotations

import io
import shutil
from itertools import islice
from pathlib import Path

import faulty
import pytest
import torch
from PIL import Image

from pgsbench.config.schema import DataConfig
from pgsbench.data import damage, shards
from pgsbench.data.damage import Damage, UnusableError, check_picture, open_picture
from pgsbench.data.index import index_of
from pgsbench.data.samples import Batch, Fault
from pgsbench.data.tar import CUT, NO_ARCHIVE, TWICE, read_tar, write_tar
from pgsbench.errors import DataError


def lengths(texts: list[str]) -> torch.Tensor:
    return torch.tensor([[int(text.split()[-1])] for text in texts])


def config(folder: Path, *, streamed: bool = True, **more: object) -> DataConfig:
    limit = 1e-9 if streamed else 1.0
    told = {"augment": None, "max_bad_share": 0.9, "workers": 0, "memory_limit_gib": limit, **more}
    return DataConfig(train=str(folder), **told)


def read(data: DataConfig, steps: int, account: Damage | None = None, **options: int) -> list[Batch]:
    pairs = shards.open_pairs(data)
    reader = shards.open_reader(pairs, data, image_size=(24, 24), tokenize=lengths)
    batches = list(islice(reader.batches(seed=1, batch_size=16, **options), steps))
    count(batches, account or pairs.damage(data.max_bad_share))
    return batches


def count(batches: list[Batch], account: Damage) -> None:
    for batch in batches:
        for fault in batch.faults:
            account.add(fault)


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
    account = pairs.damage(data.max_bad_share)
    batches = read(data, 3 * len(pairs) // 16 + 1, account)
    found = account.counts
    assert set(found) == {*counts, CUT}  # eight kinds
    seen = {int(number) for batch in batches for number in batch.ids}
    before_cut = index_of(str(folder / "2.tar"))
    assert len(seen) + sum(found.values()) == 80 + len(before_cut.keys) + len(before_cut.faults)
    for shard in ("0.tar", "1.tar"):
        in_order = [key for key, _ in read_tar(folder / shard)]
        index = index_of(str(folder / shard))
        assert sorted([*index.keys, *(key for key, _ in index.faults)]) == in_order
        assert {int(key) % 5 for key, _ in index.faults} == {3}  # those that were planted


@pytest.mark.parametrize("streamed", [True, False], ids=["streamed", "memory"])
def test_stand_ins_are_the_same_for_ranks_and_for_a_resume(
    planted: tuple[Path, dict[str, int]], streamed: bool
) -> None:
    whole = read(config(planted[0]), 8)
    assert any(batch.faults for batch in whole)
    data = config(planted[0], streamed=streamed)
    parts = [read(data, 5, start_step=3, rank=rank, world_size=2) for rank in range(2)]
    for step, batch in enumerate(whole[3:]):
        for field in ("images", "texts", "ids", "samples"):
            assert torch.equal(
                torch.cat([getattr(part[step], field) for part in parts]), getattr(batch, field)
            )
    damaged = {fault.id for batch in whole for fault in batch.faults}
    assert not damaged & {int(number) for batch in whole for number in batch.ids}


def test_a_vanished_shard_and_one_that_was_changed_are_counted(planted: tuple[Path, dict[str, int]]) -> None:
    folder, _ = planted
    data = config(folder)
    pairs = shards.open_pairs(data)
    account = pairs.damage(1.0)
    reader = shards.open_reader(pairs, data, image_size=(24, 24), tokenize=lengths)
    (folder / "0.tar").unlink()
    write_tar(folder / "1.tar", [("a", {"jpg": faulty.jpeg(0), "txt": b"other 1"})])
    batches = list(islice(reader.batches(seed=1, batch_size=16), 3 * len(pairs) // 16 + 1))
    count(batches, account)
    assert account.counts[damage.VANISHED] == pairs.sizes[0]
    assert account.counts[damage.CHANGED] == pairs.sizes[1]
    assert {int(number) for batch in batches for number in batch.ids} <= set(
        range(sum(pairs.sizes[:2]), len(pairs))
    )


def test_too_much_damage_stops_the_run_and_says_where(planted: tuple[Path, dict[str, int]]) -> None:
    folder, _ = planted
    with pytest.raises(DataError, match=r"of \d+ samples cannot be used, more than data.max_bad_share"):
        read(config(folder, max_bad_share=0.01), 1)
    account = Damage(100, {}, 0.02)
    for number in (1, 2, 2, 1):
        account.add(Fault(number, damage.DAMAGED, f"0.tar:{number}"))
    with pytest.raises(DataError, match=r"0\.tar:3: 3 of 100 samples .* allows: 3 damaged picture"):
        account.add(Fault(3, damage.DAMAGED, "0.tar:3"))


def test_the_account_goes_on_where_a_killed_training_left_it(tmp_path: Path) -> None:
    first = Damage(100, {"no caption": 2}, 1.0)
    first.keep_in(tmp_path / "damage.jsonl")
    first.add(Fault(4, damage.DAMAGED, "0.tar:4"))
    again = Damage(100, {"no caption": 2}, 1.0)
    again.keep_in(tmp_path / "damage.jsonl")
    again.add(Fault(4, damage.DAMAGED, "0.tar:4"))
    again.add(Fault(5, damage.VANISHED, "1.tar:5"))
    assert again.counts == {"no caption": 2, damage.DAMAGED: 1, damage.VANISHED: 1}
    assert len((tmp_path / "damage.jsonl").read_text().splitlines()) == 2
    other_rank = Damage(100, {"no caption": 2}, 1.0)
    other_rank.keep_in(tmp_path / "damage.jsonl", writes=False)
    other_rank.add(Fault(6, damage.DAMAGED, "1.tar:6"))
    assert sorted(other_rank.replaced) == [4, 5, 6]
    assert len((tmp_path / "damage.jsonl").read_text().splitlines()) == 2


def test_a_torn_line_of_the_account_is_passed_over(tmp_path: Path) -> None:
    path = tmp_path / "damage.jsonl"
    path.write_text('[4, "damaged", "0.tar:4"]\n[5, "dam')
    found = Damage(100, {}, 1.0)
    found.keep_in(path)
    found.add(Fault(6, damage.VANISHED, "1.tar:6"))
    again = Damage(100, {}, 1.0)
    again.keep_in(path)
    assert sorted(again.replaced) == [4, 6]


def test_removing_a_bad_sample_by_hand_keeps_the_data_what_it_is(tmp_path: Path) -> None:
    faulty.plant(tmp_path / "train")
    data = config(tmp_path / "train")
    before, batches = shards.identity(data), read(data, 6)
    shutil.copytree(tmp_path / "train", tmp_path / "mended")
    bad = {key for key, _ in index_of(str(tmp_path / "train" / "1.tar")).faults}
    assert bad
    kept = [(key, parts) for key, parts in read_tar(tmp_path / "train" / "1.tar") if key not in bad]
    write_tar(tmp_path / "mended" / "1.tar", kept)
    mended = config(tmp_path / "mended")
    assert shards.identity(mended) == before
    for ours, theirs in zip(read(mended, 6), batches, strict=True):
        assert torch.equal(ours.images, theirs.images)
        assert torch.equal(ours.ids, theirs.ids)


def test_a_file_that_is_no_archive_is_counted(tmp_path: Path) -> None:
    faulty.plant(tmp_path / "train")
    (tmp_path / "train" / "3.tar").write_bytes(b"")
    (tmp_path / "train" / "4.tar").write_bytes(b"this is no archive" * 100)
    assert shards.open_pairs(config(tmp_path / "train")).faults[NO_ARCHIVE] == 2


def test_two_samples_of_one_key_are_one(tmp_path: Path) -> None:
    parts = {"jpg": faulty.jpeg(0), "txt": b"x 1"}
    (tmp_path / "train").mkdir()
    write_tar(
        tmp_path / "train" / "0.tar", [("a", parts), ("b", parts), ("a", parts), ("c", parts), ("c", parts)]
    )
    assert shards.open_pairs(str(tmp_path / "train")).faults == {TWICE: 2}
