"""Pictures and captions in folders or tables, turned into shards: ``pgsbench data make NAME --from PATH``.

A table is CSV, TSV or Parquet with a column of paths or URLs and one of captions; rows of one picture next to
each other, and lists of texts, give it several. In a folder each picture has a text file of its name beside
it, as img2dataset leaves them.
"""

from __future__ import annotations

import csv
import io
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import groupby, islice
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from urllib.request import url2pathname

from pgsbench.config.schema import NAME
from pgsbench.data import damage, remote, store
from pgsbench.data.damage import PILLOW_ERRORS, UnusableError
from pgsbench.data.tar import IMAGE_TYPES, write_tar
from pgsbench.errors import DataError

#: Names of columns that are understood, as img2dataset, open_clip and common data sets use them.
PICTURES = ("filepath", "path", "image", "image_path", "file", "filename", "url", "image_url")
CAPTIONS = ("title", "caption", "text", "captions", "texts", "top_caption")

SHARD_SAMPLES = 10_000
#: Files fetched at a time: most of it is waiting.
THREADS = 16

_ENDINGS = {"JPEG": "jpg", "MPO": "jpg", "PNG": "png", "WEBP": "webp"}
_MISSING = "file or URL that cannot be read"

#: A path or URL, and its captions.
Row = tuple[str, list[str]]


@dataclass(frozen=True)
class Made:
    """A data set that was made.

    Attributes:
        name: What ``data.train`` calls it.
        folder: Where it lies.
        num_pairs: Training pairs in it.
        faults: Reason -> number of pictures that were left out.
        existed: It was there before.
    """

    name: str
    folder: Path
    num_pairs: int
    faults: dict[str, int] = field(default_factory=dict)
    existed: bool = False

    def __str__(self) -> str:
        left_out = "".join(f", {number:,} left out ({reason})" for reason, number in self.faults.items())
        done = "exists" if self.existed else "made"
        return f"{done}: {self.folder}: {self.num_pairs:,} pairs{left_out}; data.train={self.name}"


def make_own(name: str, source: Path, *, progress: store.Progress | None = None) -> Made:
    """Turn a folder or a table into shards.

    Args:
        name: What training data is then called.
        source: The folder or the table.
        progress: Told of pictures that were read.

    Raises:
        DataError: The name is taken or cannot be one, or there is nothing in the source.
    """
    folder = store.own(name)
    is_name = bool(re.fullmatch(NAME, name)) and not store.is_builtin(name)
    if not is_name or folder.exists():
        rule = "there is a data set of this name" if is_name else "this cannot be a name"
        way_out = f"choose another name, or delete {folder}" if is_name else "choose another name"
        raise DataError(rule, where="NAME", value=name, way_out=way_out)
    rows = _read(source)
    counts = Counter[str]()
    with store.new_folder(folder) as scratch, ThreadPoolExecutor(THREADS) as pool:
        num_shards = -(-len(rows) // SHARD_SAMPLES)
        width, written = max(5, len(str(num_shards))), 0
        for shard in range(num_shards):
            first = shard * SHARD_SAMPLES
            found = pool.map(_sample, rows[first : first + SHARD_SAMPLES])
            samples = _usable(found, first, counts, len(rows), progress)
            written += write_tar(scratch / f"{shard:0{width}d}.tar", samples)
        if not written:
            raise DataError("no picture can be used", where="--from", value=dict(counts))
    return Made(name, folder, written, dict(counts))


def _usable(
    found: Iterable[dict[str, bytes] | str],
    first: int,
    counts: Counter[str],
    total: int,
    progress: store.Progress | None,
) -> Iterator[tuple[str, dict[str, bytes]]]:
    for number, parts in enumerate(found, first):
        if isinstance(parts, str):
            counts[parts] += 1
        else:
            yield f"{number:09d}", parts
        if progress and (number % 100 == 99 or number == total - 1):
            progress("reading pictures", number + 1, total)


def _sample(row: Row) -> dict[str, bytes] | str:
    """Return the parts of a sample, or the reason why it is none."""
    place, texts = row
    texts = [" ".join(text.split()) for text in texts if text.strip()]
    if not texts:
        return damage.NO_CAPTION
    try:
        data = remote.content(place)
    except Exception:  # whatever a server, a protocol or a file system may raise
        return _MISSING
    try:
        damage.check_picture(data)
        picture = damage.open_picture(data)
        ending = _ENDINGS.get(picture.format or "")
        if ending is None:
            file = io.BytesIO()
            picture.convert("RGB").save(file, "png")
            ending, data = "png", file.getvalue()
    except UnusableError as error:
        return error.reason
    except PILLOW_ERRORS:
        return damage.DAMAGED
    told = {"txt": texts[0].encode()} if len(texts) == 1 else {"captions.txt": "\n".join(texts).encode()}
    return {ending: data, **told}


def _read(source: Path) -> list[Row]:
    try:
        rows = list(_rows(source))
    except (OSError, ValueError, csv.Error) as error:  # of pyarrow too, whose errors are values or files
        way_out = "check that the file is whole, and what its name ends in"
        raise DataError(f"the table cannot be read: {error}", where=str(source), way_out=way_out) from error
    if not rows:
        way_out = "a folder holds a .txt beside each picture; a table a row for each"
        raise DataError(
            "there are no pictures with captions here", where="--from", value=str(source), way_out=way_out
        )
    return rows


def _rows(source: Path) -> Iterator[Row]:
    if source.is_dir():
        return _of_folder(source)
    if not source.is_file():
        raise DataError("there is no such folder or table", where="--from", value=str(source))
    kind = source.suffix.lower()
    if kind == ".parquet":
        return _grouped(_of_parquet(source), source)
    if kind in (".csv", ".tsv"):
        return _grouped(_of_text(source, "," if kind == ".csv" else "\t"), source)
    rule = "this is neither a folder nor a table"
    raise DataError(rule, where="--from", value=str(source), way_out="name a .csv, .tsv or .parquet file")


def _of_folder(folder: Path) -> Iterator[Row]:
    for path in sorted(folder.rglob("*.txt")):
        picture = next(
            (path.with_suffix(f".{kind}") for kind in IMAGE_TYPES if path.with_suffix(f".{kind}").is_file()),
            None,
        )
        if picture is not None:
            yield str(picture), [path.read_text(errors="replace")]


def _of_text(source: Path, separator: str) -> Iterator[tuple[str, Any]]:
    with source.open(newline="", errors="replace") as file:
        reader = csv.DictReader(file, delimiter=separator)
        columns = _columns(reader.fieldnames or (), source)
        for row in reader:
            yield row[columns[0]] or "", row[columns[1]] or ""


def _of_parquet(source: Path) -> Iterator[tuple[Any, Any]]:
    try:
        from pyarrow import parquet
    except ImportError:
        raise DataError(
            "Parquet needs pyarrow, which is not installed", way_out="pip install pyarrow"
        ) from None
    file = parquet.ParquetFile(source)
    columns = _columns(file.schema_arrow.names, source)
    for batch in file.iter_batches(columns=list(columns)):
        for row in batch.to_pylist():
            yield row[columns[0]] or "", row[columns[1]] or ""


def _columns(names: Sequence[str], source: Path) -> tuple[str, str]:
    lower = {name.lower(): name for name in names}
    found = [next((lower[name] for name in known if name in lower), None) for known in (PICTURES, CAPTIONS)]
    for column, known in zip(found, (PICTURES, CAPTIONS), strict=True):
        if column is None:
            way_out = (
                "the first line names the columns: call that of paths or URLs `url`, of captions `caption`"
            )
            if len(names) == 1 and "\t" in names[0]:
                way_out = f"its columns are separated by tabs: call it {source.with_suffix('.tsv').name}"
            raise DataError(
                f"no column is called {', '.join(known)}",
                where=str(source),
                value=[name[:40] for name in islice(names, 20)],
                way_out=way_out,
            )
    return str(found[0]), str(found[1])


def _grouped(rows: Iterable[tuple[Any, Any]], source: Path) -> Iterator[Row]:
    for place, group in groupby(rows, lambda row: row[0]):
        if not isinstance(place, str):
            rule, way_out = (
                "a picture is named by a path or a URL, not held in the table",
                "write it to a file",
            )
            raise DataError(rule, where=str(source), value=type(place).__name__, way_out=way_out)
        texts = [str(text) for _, told in group for text in (told if isinstance(told, list) else [told])]
        if place.startswith("file:"):
            place = url2pathname(urlsplit(place).path)
        is_path = not remote.is_remote(place) and not Path(place).is_absolute()
        yield (str(source.parent / place) if is_path else place), texts
