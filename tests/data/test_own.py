"""Pictures of one's own become shards; shards that lie elsewhere are copied, within bounds."""

from __future__ import annotations

import functools
import http.server
import threading
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import faulty
import pyarrow
import pytest
import torch
from PIL import Image
from pyarrow import parquet

from pgsbench.config.schema import DataConfig
from pgsbench.data import damage, own, remote, shards, source_names, store
from pgsbench.data.make import make
from pgsbench.data.tar import read_tar, write_tar
from pgsbench.data.verify import verify_pairs
from pgsbench.errors import DataError
from pgsbench.reporting.data_tables import datasets_table, verified_table
from pgsbench.reporting.terminal import text


@pytest.fixture(autouse=True)
def own_data_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PGSBENCH_DATA", str(tmp_path / "data"))


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
    found = []
    for shard in source_names.resolve(name):
        for _, parts in read_tar(Path(shard)):
            found.append((parts.get("txt") or parts["captions.txt"]).decode().split("\n"))
    return found


def test_a_folder_of_pictures_and_texts(pictures: Path) -> None:
    made = own.make_own("mine", pictures)
    assert (made.num_pairs, made.faults) == (5, {damage.NO_IMAGE: 1})
    assert str(made) == f"made: {made.folder}: 5 pairs, 1 left out ({damage.NO_IMAGE}); data.train=mine"
    assert captions_of("mine") == [[f"number {number}"] for number in (0, 1, 2, 4, 5)]
    assert len(shards.open_pairs("mine")) == 5
    with pytest.raises(DataError, match="there is a data set of this name"):
        own.make_own("mine", pictures)
    for name in ("scenes", "../x", ""):
        with pytest.raises(DataError, match="cannot be a name"):
            own.make_own(name, pictures)


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
        table.write_text(
            "\n".join(mark.join(f'"{cell}"' for cell in row) for row in [("filepath", "title"), *rows])
        )
    made = own.make_own("mine", table)
    assert made.num_pairs == 3
    assert made.faults == {own._MISSING: 1, damage.NO_CAPTION: 1}
    assert captions_of("mine") == [["one, first", "one, again"], ["two"], ["four"]]
    assert len(source_names.resolve("mine")) == 3


def test_a_table_without_known_columns_is_refused(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("a,b\n1,2\n")
    with pytest.raises(DataError, match=r"no column is called filepath.*got \['a', 'b'\]"):
        own.make_own("mine", tmp_path / "t.csv")


def test_the_way_out_of_a_table_of_other_separators_and_of_file_urls(pictures: Path, tmp_path: Path) -> None:
    picture = pictures / "00000" / "0.jpg"
    table = tmp_path / "t.csv"
    table.write_text(f"filepath\ttitle\n{picture.as_uri()}\tone\n")
    with pytest.raises(DataError, match=r"separated by tabs: call it t\.tsv"):
        own.make_own("mine", table)
    assert own.make_own("mine", table.rename(tmp_path / "t.tsv")).num_pairs == 1


def test_a_name_that_is_a_folder_here_too_is_refused(
    pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own.make_own("shards", pictures)
    monkeypatch.chdir(tmp_path)
    assert len(source_names.resolve("shards")) == 1
    (tmp_path / "shards").mkdir()
    with pytest.raises(DataError, match=f"name the folder {tmp_path / 'shards'}, or rename"):
        source_names.resolve("shards")


def test_a_data_folder_that_cannot_be_made_is_told(
    pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("PGSBENCH_DATA", str(tmp_path / "file"))
    with pytest.raises(DataError, match="data sets cannot be written"):
        own.make_own("mine", pictures)


@pytest.fixture
def served(tmp_path: Path) -> Iterator[str]:
    folder = tmp_path / "served"
    folder.mkdir()
    for shard in range(3):
        parts = [
            (f"{n}", {"jpg": faulty.jpeg(shard * 10 + n, (64, 64)), "txt": f"x {shard * 10 + n}".encode()})
            for n in range(10)
        ]
        write_tar(folder / f"{shard}.tar", parts)

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(
        ("127.0.0.1", 0), functools.partial(Quiet, directory=str(folder))
    )
    threading.Thread(target=server.serve_forever, daemon=True).start()
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
        reader = shards.open_reader(
            shards.open_pairs(data),
            data,
            image_size=(16, 16),
            tokenize=lambda texts: torch.tensor([[int(text.split()[-1])] for text in texts]),
        )
        return [batch.images for batch in islice(reader.batches(seed=0, batch_size=8), 4)]

    there, here = read(f"{served}/{{0..2}}.tar"), read(f"{tmp_path}/served")
    assert all(torch.equal(one, other) for one, other in zip(there, here, strict=True))
    copies = list((store.root() / "remote").glob("*.tar"))
    assert sum(path.stat().st_size for path in copies) <= 1.5 * size
    data = DataConfig(train=f"{served}/{{0..2}}.tar")
    assert shards.identity(data) == shards.identity(DataConfig(train=f"{tmp_path}/served"))


def test_a_url_that_is_not_there_is_named(served: str) -> None:
    with pytest.raises(DataError, match=r"9\.tar: a shard cannot be read"):
        shards.open_pairs(f"{served}/9.tar")


def test_schemes_are_those_of_files() -> None:
    assert remote.is_remote("s3://bucket/0.tar")
    assert not remote.is_remote("pipe:curl http://x")


def test_verify_counts_what_only_decoding_shows(tmp_path: Path) -> None:
    counts = faulty.plant(tmp_path / "train")
    found = verify_pairs(str(tmp_path / "train"))
    assert found.num_usable + len(found.faults) == 120
    by_reason: dict[str, int] = {}
    for _, _, reason in found.faults:
        by_reason[reason] = by_reason.get(reason, 0) + 1
    assert by_reason == counts
    table, stops = verified_table(str(tmp_path / "train"))
    told = text(table)
    assert "A training stops at them, unless data.max_bad_share (1%) allows more." in told
    assert stops
    assert "Shards that are cut" not in told
    (tmp_path / "train" / "3.tar").write_text("no archive")
    assert "Shards that are cut, gone or no archive: 1;" in text(verified_table(str(tmp_path / "train"))[0])


def test_a_table_that_is_none_is_a_mistake_that_is_told(tmp_path: Path) -> None:
    broken, held = tmp_path / "broken.parquet", tmp_path / "held.parquet"
    broken.write_bytes(b"no")
    parquet.write_table(pyarrow.table({"image": [{"bytes": b"x"}], "caption": ["one"]}), held)
    for table, message in ((broken, "cannot be read"), (held, "a path or a URL, not held in the table")):
        with pytest.raises(DataError, match=message):
            own.make_own("mine", table)


def test_ones_own_pictures_have_no_knobs_and_are_listed(pictures: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="only a built-in data set has knobs"):
        make("mine", knobs=["x=1"], source=pictures)
    make("mine", source=pictures)
    table = datasets_table()
    (row,) = (row for row in table.cells() if row[0] == "mine")
    assert row[4] == "own/mine"
    assert "own/mine" in text(table)
    assert str(tmp_path / "data/own/mine") not in text(table)
    with pytest.raises(DataError, match="did you mean 'mine'"):
        source_names.resolve("mina")
