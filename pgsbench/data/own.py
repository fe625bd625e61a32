"""``pgsbench data make``: a built-in data set, or pictures and captions of one's own turned into shards.

A table is CSV, TSV or Parquet with a column of paths or URLs and one of captions; rows of one picture next to
each other, and lists of texts, give it several. In a folder each picture has a text file of its name beside
it, as img2dataset leaves them.
"""

from __future__ import annotations

import io
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import Any

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


def make(
    name: str,
    *,
    knobs: Sequence[str] = (),
    source: Path | None = None,
    progress: store.Progress | None = None,
) -> Made:
    """Make a data set where it does not exist yet.

    Args:
        name: A built-in one, which is found again by a hash of its recipe; another name is one's own.
        knobs: What its recipe changes, as it is typed: ``clutter=0.5``.
        source: The archive, folder or table that it is made from, where it is made from one.
        progress: Told how far it is.

    Raises:
        DataError: There is no such data set or knob, or it cannot be made.
    """
    if source is not None and not store.is_builtin(name) and not knobs:
        return make_own(name, source, progress=progress)
    name = store.typed(name, knobs)
    existed = store.find(name) is not None
    folder = store.ensure(name, source=source, progress=progress)
    return Made(name, folder, store.read_manifest(folder).num_train, existed=existed)


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
    if not re.fullmatch(NAME, name) or store.is_builtin(name) or folder.exists():
        rule = "this name is taken or cannot be one"
        raise DataError(rule, where="NAME", value=name, way_out="choose another name")
    rows = _rows(source)
    faults = Counter[str]()

    def usable(first: int) -> Iterator[tuple[str, dict[str, bytes]]]:
        samples = pool.map(_sample, rows[first : first + SHARD_SAMPLES])
        for number, parts in enumerate(samples, first):
            if isinstance(parts, str):
                faults[parts] += 1
            else:
                yield f"{number:09d}", parts
            if progress:
                progress("reading pictures", number + 1, len(rows))

    with store.new_folder(folder) as scratch, ThreadPoolExecutor(THREADS) as pool:
        firsts = range(0, len(rows), SHARD_SAMPLES)
        written = sum(write_tar(scratch / f"{n:05}.tar", usable(first)) for n, first in enumerate(firsts))
        if not written:
            way_out = "a folder holds a .txt beside each picture; a table a row for each"
            raise DataError(
                "no picture can be used", where=str(source), value=dict(faults) or None, way_out=way_out
            )
    return Made(name, folder, written, dict(faults))


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


def _rows(source: Path) -> list[Row]:
    if source.is_dir():
        return list(_of_folder(source))
    rows = []
    for place, group in groupby(_of_table(source), itemgetter(0)):
        if not isinstance(place, str):
            rule = "a picture is named by a path or a URL, not held in the table"
            raise DataError(rule, where=str(source), value=type(place).__name__, way_out="write it to a file")
        told = [text for _, one in group for text in (one if isinstance(one, list) else [one])]
        here = place if remote.is_remote(place) else str(source.parent / place)
        rows.append((here, [str(text) for text in told]))
    return rows


def _of_folder(folder: Path) -> Iterator[Row]:
    for text in sorted(folder.rglob("*.txt")):
        places = (text.with_suffix(f".{kind}") for kind in IMAGE_TYPES)
        if picture := next(filter(Path.is_file, places), None):
            yield str(picture), [text.read_text(errors="replace")]


def _of_table(source: Path) -> Iterator[tuple[Any, Any]]:
    """Yield picture and caption of each row; what is missing is empty."""
    from pyarrow import csv, parquet  # slow to import

    try:
        if source.suffix == ".parquet":
            table = parquet.read_table(source)
        else:
            cells = csv.ParseOptions(
                delimiter="\t" if source.suffix == ".tsv" else ",", newlines_in_values=True
            )
            table = csv.read_csv(source, parse_options=cells)
    except (OSError, ValueError) as error:  # pyarrow's own errors are values or files
        way_out = "name a folder, or a table that ends in .csv, .tsv or .parquet"
        raise DataError(f"the table cannot be read: {error}", where=str(source), way_out=way_out) from error
    for batch in table.select(_columns(table.column_names, source)).to_batches():
        for place, text in zip(*(column.to_pylist() for column in batch.columns), strict=True):
            yield place or "", "" if text is None else text


def _columns(names: Iterable[str], source: Path) -> list[str]:
    """Return the names of the columns of pictures and of captions."""
    lower = {name.lower(): name for name in names}
    found = []
    for known in (PICTURES, CAPTIONS):
        if not (named := [lower[name] for name in known if name in lower]):
            raise DataError(
                f"no column is called {', '.join(known)}",
                where=str(source),
                value=list(lower.values())[:20],
                way_out="call the column of paths or URLs `url`, that of captions `caption`",
            )
        found.append(named[0])
    return found
