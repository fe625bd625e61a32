"""Where the samples of a tar lie in it, and which of them can be used: looked up once, then remembered.

An index takes one pass over its archive and is kept in the data folder under the archive's path, size and
times of change; it may be deleted at any time. The digest covers the contents of the usable samples alone:
whoever removes a damaged sample from an archive by hand still has the same data.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from pgsbench.data import damage, remote, store
from pgsbench.data.damage import UnusableError
from pgsbench.data.tar import CUT, IMAGE_TYPES, TWICE, content_of, samples_of
from pgsbench.disk.whole_files import UNREADABLE, atomic
from pgsbench.errors import DataError
from pgsbench.hashing import digest

#: Raised when the same archive would be indexed otherwise.
VERSION = 2
#: Archives looked at together: reading from a disk waits, and hashing gives other threads the processor.
THREADS = 8

#: Parts of a sample, in the order of `ShardIndex.spans`; the picture may have any of `IMAGE_TYPES`.
PARTS = ("picture", "txt", "captions.txt", "objects.png")


@dataclass(frozen=True)
class ShardSummary:
    """What is to know of an archive before it is read.

    Attributes:
        size: Usable samples.
        digest: Hash of what they hold.
        has_objects: Whether the first of them has a map of objects.
        faults: Reason -> number of samples that cannot be used.
    """

    size: int
    digest: str
    has_objects: bool
    faults: dict[str, int]


@dataclass(frozen=True)
class ShardIndex:
    """The samples of an archive.

    Attributes:
        spans: (n, 4, 2) offset and length in bytes of each of `PARTS`, of usable samples; length 0: there is
            none.
        keys: Name of each usable sample.
        faults: Name and reason of each that cannot be used.
        summary: The same in short.
    """

    spans: NDArray[np.int64]
    keys: list[str]
    faults: list[tuple[str, str]]
    summary: ShardSummary


def summaries(shards: Sequence[str], *, progress: store.Progress | None = None) -> list[ShardSummary]:
    """Return what is to know of each archive.

    Args:
        shards: The archives, paths or URLs.
        progress: Told how many of those that are not remembered have been looked at.

    Raises:
        DataError: An archive is not there or may not be read.
    """
    names = list(dict.fromkeys(shards))
    with ThreadPoolExecutor(THREADS) as pool:
        places = zip(names, pool.map(_place, names), strict=True)  # of a URL, a request
        known = {shard: _recall(place) for shard, place in places}  # not in threads: see `_recall`
        unknown = [shard for shard, found in known.items() if found is None]
        for number, (shard, found) in enumerate(zip(unknown, pool.map(_make, unknown), strict=True), 1):
            known[shard] = found.summary
            if progress:
                progress("looking at the data", number, len(unknown))
    return [known[shard] or _make(shard).summary for shard in shards]


def index_of(shard: str) -> ShardIndex:
    """Return the index of an archive, made now where it is not remembered.

    Raises:
        DataError: It is not there or may not be read.
    """
    try:
        with np.load(_place(shard), allow_pickle=False) as kept:
            keys, faults, summary = json.loads(kept["told"].tobytes())
            return ShardIndex(
                kept["spans"], keys, [(key, reason) for key, reason in faults], ShardSummary(**summary)
            )
    except UNREADABLE:
        return _make(shard)


def _recall(place: Path) -> ShardSummary | None:
    """Return what is remembered; not in a thread, where CPython 3.11 may fail at NumPy's headers."""
    try:
        with np.load(place, allow_pickle=False) as kept:
            return ShardSummary(**json.loads(kept["summary"].tobytes()))
    except UNREADABLE:
        return None


def _make(shard: str) -> ShardIndex:
    place = _place(shard)  # before it is read: a change meanwhile is then noticed
    try:
        with remote.opened(shard) as file:
            found = look_into(file)
    except OSError as error:
        raise _unreadable(shard, error) from None
    with suppress(OSError), atomic(place) as scratch, scratch.open("wb") as out:  # else it is made again
        summary = vars(found.summary)
        told = _packed([found.keys, found.faults, summary])
        np.savez(out, spans=found.spans, told=told, summary=_packed(summary))
    return found


def _packed(value: object) -> NDArray[np.uint8]:
    return np.frombuffer(json.dumps(value).encode(), np.uint8)


def _place(shard: str) -> Path:
    try:
        name = digest([VERSION, *remote.state(shard)])[:32]
    except OSError as error:
        raise _unreadable(shard, error) from None
    return store.root() / "index" / name[:2] / f"{name}.npz"


def _unreadable(shard: str, error: OSError) -> DataError:
    return DataError(f"a shard cannot be read ({error.strerror or error})", where=shard)


def look_into(file: BinaryIO) -> ShardIndex:
    """Return the index of an archive."""
    spans, keys, faults = [], [], list[tuple[str, str]]()
    hashed, seen = hashlib.sha256(), set[str]()
    for key, parts, fault in samples_of(file):
        picture = next((parts[kind] for kind in IMAGE_TYPES if kind in parts), None)
        try:
            if fault or key in seen:
                raise UnusableError(fault or TWICE)
            seen.add(key)
            if picture is None:
                raise UnusableError(damage.NO_PICTURE)
            found = [picture, *(parts.get(part, (0, 0)) for part in PARTS[1:])]
            contents = _checked(file, found)
        except UnusableError as error:
            faults.append((key, error.reason))
            continue
        keys.append(key)
        spans.append(found)
        for content in contents:
            hashed.update(len(content).to_bytes(8, "little"))
            hashed.update(content)
    array = np.array(spans, np.int64).reshape(len(spans), len(PARTS), 2)
    has_objects = len(spans) > 0 and bool(array[0, 3, 1])
    reasons = dict(Counter(reason for _, reason in faults))
    return ShardIndex(array, keys, faults, ShardSummary(len(spans), hashed.hexdigest(), has_objects, reasons))


def _checked(file: BinaryIO, spans: list[tuple[int, int]]) -> list[bytes]:
    """Return the contents of a usable sample."""
    contents = [content_of(file, *span) for span in spans]
    if any(len(content) < size for content, (_, size) in zip(contents, spans, strict=True)):
        raise UnusableError(CUT)
    if not contents[0]:
        raise UnusableError(damage.EMPTY)
    if not (contents[1].strip() or contents[2].strip()):
        raise UnusableError(damage.NO_CAPTION)
    damage.check_picture(contents[0])
    return contents
