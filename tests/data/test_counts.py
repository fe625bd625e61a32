"""How many pairs shards have, from what lies beside them; and that data stays what it was."""

from __future__ import annotations

import io
import json
import os
import tarfile
from itertools import islice
from pathlib import Path
from shutil import copytree

import faulty
import pytest

from pgsbench.config.data import DataConfig
from pgsbench.data import damage, index, order, shards
from pgsbench.data.samples import Batch
from pgsbench.data.tar import _files_of, write_tar
from pgsbench.errors import DataError

SHARDS, PER_SHARD = 24, 6


@pytest.fixture(autouse=True)
def own_data_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PGSBENCH_DATA", str(tmp_path / "data"))
    monkeypatch.setattr(order, "BLOCK_SAMPLES", 40)


def shard(path: Path, first: int, *, caption: str = "number", pictures: int = 0) -> None:
    parts = [
        {"jpg": faulty.jpeg(pictures + n), "txt": f"{caption} {n}".encode(), "json": b"{}"}
        for n in range(first, first + PER_SHARD)
    ]
    write_tar(path, [(f"{first + n:06d}", one) for n, one in enumerate(parts)])


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "train").mkdir()
    for number in range(SHARDS):
        shard(tmp_path / "train" / f"{number:05d}.tar", number * PER_SHARD)
    return tmp_path / "train"


def counted(folder: Path) -> Path:
    sizes = {path.name: PER_SHARD for path in sorted(folder.glob("*.tar"))}
    (folder / "sizes.json").write_text(json.dumps(sizes))
    return folder


def read(folder: Path, steps: int, *, run_pins: Path | None = None, start_step: int = 0) -> list[Batch]:
    data = DataConfig(train=str(folder), augment=None, workers=0, memory_limit_gib=1e-9)
    pairs = shards.open_pairs(data, run_pins=run_pins)
    reader = shards.open_reader(pairs, data, image_size=(24, 24), tokenize=faulty.lengths)
    return list(islice(reader.batches(seed=5, batch_size=8, start_step=start_step), steps))


def ids(batches: list[Batch]) -> list[int]:
    return [number for batch in batches for number in batch.ids.tolist()]


def test_a_run_without_counts_resumed_elsewhere_has_the_order_of_one_with_counts(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_counts = counted(copytree(folder, tmp_path / "counted"))
    whole, pins = read(with_counts, 30), tmp_path / "run" / "pins"
    begun = read(folder, 13, run_pins=pins)
    monkeypatch.setenv("PGSBENCH_DATA", str(tmp_path / "other-machine"))
    elsewhere = copytree(folder, tmp_path / "elsewhere")
    for path in elsewhere.glob("*.tar"):
        os.utime(path, (1, 1))
    resumed = read(elsewhere, 17, run_pins=pins, start_step=13)
    assert ids(begun) + ids(resumed) == ids(whole)
    assert sorted(ids(whole)[:144]) == list(range(144))
    names = {shards.identity(DataConfig(train=str(place))) for place in (folder, elsewhere, with_counts)}
    assert len(names) == 1


@pytest.mark.parametrize("source", ["sizes.json", "stats"])
def test_files_beside_shards_tell_the_counts_and_no_shard_but_a_few_is_opened(
    folder: Path, source: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if source == "stats":
        for path in folder.glob("*.tar"):
            stats = {"count": 9, "successes": PER_SHARD, "failed_to_download": 3}
            path.with_name(f"{path.stem}_stats.json").write_text(json.dumps(stats))
    else:
        counted(folder)
    opened, look = list[int](), index.look_into
    monkeypatch.setattr(index, "look_into", lambda file: (opened.append(1), look(file))[1])
    pairs = shards.open_pairs(str(folder))
    assert pairs.sizes == (PER_SHARD,) * SHARDS
    assert len(opened) == 8


def test_what_a_shard_lacks_of_its_count_is_replaced_and_counted(folder: Path, tmp_path: Path) -> None:
    sizes = dict.fromkeys((path.name for path in folder.glob("*.tar")), PER_SHARD)
    (folder / "sizes.json").write_text(json.dumps({**sizes, "00003.tar": PER_SHARD + 4}))
    batches = read(folder, 19)
    lacking = {fault.id: fault.reason for batch in batches for fault in batch.faults}
    assert lacking == dict.fromkeys(range(4 * PER_SHARD, 4 * PER_SHARD + 4), damage.ABSENT)
    assert not set(lacking) & set(ids(batches))


@pytest.mark.parametrize("what", ["captions", "pictures"])
def test_a_shard_that_was_exchanged_stops_a_run(folder: Path, tmp_path: Path, what: str) -> None:
    pins, path = tmp_path / "run" / "pins", folder / "00004.tar"
    before, state = shards.identity(DataConfig(train=str(folder))), path.stat()
    read(folder, 18, run_pins=pins)
    if what == "captions":
        shard(path, 4 * PER_SHARD, caption="nimber")
    else:
        content = path.read_bytes()
        path.write_bytes(content.replace(b"JFIF", b"JFXF", 1))  # one byte of one picture
    assert path.stat().st_size == state.st_size
    os.utime(path, ns=(state.st_atime_ns, state.st_mtime_ns))
    assert shards.identity(DataConfig(train=str(folder))) == before  # none of those that are looked at
    with pytest.raises(DataError, match=r"00004\.tar: this shard is no longer what it was"):
        read(folder, 18, run_pins=pins)


@pytest.mark.parametrize("kind", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_archives_of_each_format_hold_what_tarfile_says(tmp_path: Path, kind: int) -> None:
    path, folder = tmp_path / "0.tar", "f" * (70 if kind == tarfile.USTAR_FORMAT else 200)
    with tarfile.open(path, "w", format=kind) as archive:
        for name in ("a.jpg", "a.txt", f"{folder}/{'n' * 60}.jpg", "é.txt", "empty.txt"):
            member = tarfile.TarInfo(name)
            member.size, member.mtime = 0 if name == "empty.txt" else 700, 1.5  # type: ignore[assignment]
            archive.addfile(member, io.BytesIO(name.encode() * 700))
        link = tarfile.TarInfo("link.jpg")
        link.type, link.linkname = tarfile.SYMTYPE, "x" * 90
        archive.addfile(link)
    with tarfile.open(path) as archive, path.open("rb") as file:
        expected = [(one.name, one.offset_data, one.size) for one in archive if one.isfile()]
        assert list(_files_of(file.fileno())) == expected


def test_exchanged_captions_of_all_shards_are_other_data(folder: Path, tmp_path: Path) -> None:
    other = counted(copytree(folder, tmp_path / "other"))
    for number, path in enumerate(sorted(other.glob("*.tar"))):
        shard(path, number * PER_SHARD, caption="nimber")
    told = [shards.identity(DataConfig(train=str(place))) for place in (folder, other)]
    assert told[0] != told[1]


def test_a_shard_not_yet_read_is_pinned_by_its_time(folder: Path) -> None:
    data = DataConfig(train=str(counted(folder)), augment=None, workers=0, memory_limit_gib=1e-9)
    reader = shards.open_reader(shards.open_pairs(data), data, image_size=(24, 24), tokenize=faulty.lengths)
    os.utime(folder / "00004.tar", (1, 1))
    with pytest.raises(DataError, match=r"00004\.tar: this shard is no longer"):
        list(islice(reader.batches(seed=5, batch_size=8), 18))
