"""Names of training data, pictures of one's own that become shards, and shards that lie elsewhere."""

from __future__ import annotations

import errno
import functools
import http.server
import os
import threading
from collections import Counter
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import faulty
import fsspec
import pyarrow
import pytest
import torch
from PIL import Image
from pyarrow import parquet
from tinyworld import TinyWorld

from pgsbench.config.data import DataConfig
from pgsbench.data import damage, own, remote, shards, store
from pgsbench.data.index import index_of
from pgsbench.data.tar import read_tar, write_tar
from pgsbench.errors import DataError
from pgsbench.reporting.data_tables import datasets_table, verified_table
from pgsbench.reporting.terminal import text


@pytest.fixture(autouse=True)
def own_data_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PGSBENCH_DATA", str(tmp_path / "data"))


# ------------------------------------------------------------------------------------------- names


def test_patterns_name_shards(tiny: TinyWorld) -> None:
    folder, three = tiny.shards, [f"{tiny.shards}/0000{number}.tar" for number in range(3)]
    for train in (str(folder), f"{folder}/{{00000..00002}}.tar", f"{folder}/*.tar"):
        assert shards.resolve(train) == three
    assert shards.sources_of(f"{three[1]}::{three[0]}") == [[three[1]], [three[0]]]
    assert shards.expand("{a,b/{08..10}}.tar") == ["a.tar", "b/08.tar", "b/09.tar", "b/10.tar"]


@pytest.mark.parametrize(
    ("train", "said"),
    [
        ("{folder}/{00000..00004}.tar", "2 of 5 shards are missing"),
        ("{folder}/nothing/*.tar", "no shards here"),
        ("scene", "did you mean 'scenes'"),
        ("x/{00000..00010.tar", "this names no shards"),
        (f"{'x' * 300}.tar", "this names no shards"),
        ("pipe:cat {folder}/00000.tar", "no commands"),
        ("{folder}/00000.tar::pipe:touch made", "no commands"),
        ("ssh://host/x.tar", "no commands"),
    ],
)
def test_what_names_no_shards_is_refused(tiny: TinyWorld, train: str, said: str) -> None:
    with pytest.raises(DataError, match=said):
        shards.resolve(train.replace("{folder}", str(tiny.shards)))


# ------------------------------------------------------------------------------------------- one's own


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    folder = tmp_path / "pictures" / "00000"
    folder.mkdir(parents=True)
    for number in range(6):
        (folder / f"{number}.jpg").write_bytes(faulty.jpeg(number))
        (folder / f"{number}.txt").write_text(f"number\n {number}")
        (folder / f"{number}.json").write_text("{}")
    (folder / "3.jpg").write_bytes(b"no picture")
    (folder / "alone.txt").write_text("without a picture")
    Image.new("RGB", (8, 8)).save(folder / "x.gif")
    return tmp_path / "pictures"


def captions_of(name: str) -> list[list[str]]:
    samples = (parts for shard in shards.resolve(name) for _, parts in read_tar(Path(shard)))
    return [(parts.get("txt") or parts["captions.txt"]).decode().split("\n") for parts in samples]


def test_a_folder_of_pictures_and_texts(
    pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = own.make("mine", source=pictures)
    assert str(made) == f"made: {made.folder}: 5 pairs, 1 left out ({damage.NO_IMAGE}); data.train=mine"
    assert captions_of("mine") == [[f"number {number}"] for number in (0, 1, 2, 4, 5)]
    assert len(shards.open_pairs("mine")) == 5
    (row,) = (row for row in datasets_table().cells() if row[0] == "mine")
    assert row[4] == "own/mine"
    for name in ("mine", "../x", ""):
        with pytest.raises(DataError, match="taken or cannot be one"):
            own.make(name, source=pictures)
    with pytest.raises(DataError, match="did you mean 'mine'"):
        shards.resolve("mina")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine").mkdir()
    with pytest.raises(DataError, match=f"name the folder {tmp_path / 'mine'}, or rename"):
        shards.resolve("mine")


@pytest.mark.parametrize("kind", ["csv", "tsv", "parquet"])
def test_a_table_of_paths_and_captions(pictures: Path, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(own, "SHARD_SAMPLES", 2)
    rows = [("00000/0.jpg", "one, first"), ("00000/0.jpg", "one, again"), ("00000/1.jpg", "two")]
    rows += [("00000/gone.jpg", "three"), (str(pictures / "00000/x.gif"), "four"), ("00000/2.jpg", " ")]
    table = pictures / f"table.{kind}"
    if kind == "parquet":
        paths, texts = zip(*rows, strict=True)
        parquet.write_table(pyarrow.table({"url": paths, "TEXT": texts, "n": range(6)}), table)
    else:
        mark = "," if kind == "csv" else "\t"
        lines = (mark.join(f'"{cell}"' for cell in row) for row in [("filepath", "title"), *rows])
        table.write_text("\n".join(lines))
    made = own.make("mine", source=table)
    assert made.num_pairs == 3
    assert made.faults == {own._MISSING: 1, damage.NO_CAPTION: 1}
    assert captions_of("mine") == [["one, first", "one, again"], ["two"], ["four"]]
    assert len(shards.resolve("mine")) == 3


def test_what_is_no_table_of_pictures_is_told(tmp_path: Path) -> None:
    (tmp_path / "broken.parquet").write_bytes(b"no")
    (tmp_path / "t.csv").write_text("a,b\n1,2\n")
    held = pyarrow.table({"image": [{"bytes": b"x"}], "caption": ["one"]})
    parquet.write_table(held, tmp_path / "held.parquet")
    for table, said in (
        ("broken.parquet", "cannot be read"),
        ("gone.csv", "cannot be read"),
        ("held.parquet", "a path or a URL, not held in the table"),
        ("t.csv", r"no column is called filepath.*got \['a', 'b'\]"),
        ("", "no picture can be used"),
    ):
        with pytest.raises(DataError, match=said):
            own.make_own("mine", tmp_path / table)


def test_a_data_folder_that_cannot_be_made_is_told(pictures: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any, **__: Any) -> None:  # what root gets below /proc, and anybody on a full disk
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(Path, "mkdir", refuse)
    with pytest.raises(DataError, match=r"cannot be written: No space left.*\n.*PGSBENCH_DATA"):
        own.make_own("mine", pictures)


def test_verify_counts_what_only_decoding_shows(tmp_path: Path) -> None:
    counts = faulty.plant(tmp_path / "train")
    (tmp_path / "train" / "3.tar").write_text("no archive")
    num_usable, faults = shards.verify(str(tmp_path / "train"))
    assert num_usable + len(faults) == 121
    assert Counter(reason for _, reason in faults) == {**counts, "not an archive": 1}
    table, stops = verified_table(str(tmp_path / "train"))
    assert stops
    assert "A training stops at them, unless data.max_bad_share (1%) allows more." in text(table)
    assert "Shards that are cut or no archive: 1;" in text(table)


# ------------------------------------------------------------------------------------------- elsewhere


@pytest.fixture
def served(tmp_path: Path) -> Iterator[str]:
    folder = tmp_path / "served"
    folder.mkdir()
    for shard in range(3):
        numbers = range(shard * 10, shard * 10 + 10)
        parts = [(f"{n}", {"jpg": faulty.jpeg(n, (64, 64)), "txt": f"x {n}".encode()}) for n in numbers]
        write_tar(folder / f"{shard}.tar", parts)

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            pass

    handler = functools.partial(Quiet, directory=str(folder))
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()


def test_shards_elsewhere_are_read_as_those_here(
    served: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    size = (tmp_path / "served" / "0.tar").stat().st_size
    monkeypatch.setenv("PGSBENCH_CACHE_GIB", str(1.5 * size / 2**30))
    monkeypatch.setattr("pgsbench.data.pairs.MAX_OPEN", 1)

    def read(train: str) -> list[torch.Tensor]:
        data = DataConfig(train=train, augment=None, workers=0, memory_limit_gib=1e-9)
        return [batch.images for batch in islice(faulty.reader(data, 16).batches(seed=0, batch_size=8), 4)]

    there, here = f"{served}/{{0..2}}.tar", f"{tmp_path}/served"
    assert all(torch.equal(one, other) for one, other in zip(read(there), read(here), strict=True))
    copies = list((store.root() / "remote").glob("*.tar"))
    assert sum(path.stat().st_size for path in copies) <= 1.5 * size
    with pytest.raises(DataError, match=r"9\.tar: a shard cannot be read"):
        shards.open_pairs(f"{served}/9.tar")


def test_a_store_that_does_not_answer_is_a_mistake_of_the_data(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_route(*_: object, **__: object) -> None:  # as the libraries of s3 and gs raise: no `OSError`
        raise RuntimeError("could not connect")

    monkeypatch.setattr(fsspec, "filesystem", no_route)
    with pytest.raises(DataError, match=r"s3://pairs/7\.tar: .*cannot be read .*could not connect"):
        index_of("s3://pairs/7.tar")


def test_the_checksum_that_a_store_tells_says_what_a_shard_is() -> None:
    told = {"size": 3, "lfs": {"sha256": "ab"}, "ETag": "cd", "mtime": 7}
    assert remote._state_of("hf://lab/0.tar", told) == ["hf://lab/0.tar", 3, "ab"]
    del told["lfs"]
    assert remote._state_of("s3://lab/0.tar", told) == ["s3://lab/0.tar", 3, "cd"]
    assert remote._state_of("http://lab/0.tar", {"size": 3}) == ["http://lab/0.tar", 3, ""]
