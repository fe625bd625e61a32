"""Where the samples of a tar lie in it, and which of them can be used: looked up once, then remembered.

An index takes one pass over its archive and is kept in the data folder under the archive's path, size and
times of change; it may be deleted at any time. The digest covers the contents of the usable samples alone:
whoever removes a damaged sample from an archive by hand still has the same data.
"""

from __future__ import annotations

import hashlib
import json
import tarfile
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from pgsbench.data import damage, remote, store
from pgsbench.data.damage import UnusableError
from pgsbench.data.tar import IMAGE_TYPES, check_end, key_and_ending
from pgsbench.disk.whole_files import UNREADABLE, atomic
from pgsbench.errors import DataError
from pgsbench.hashing import digest as digest_of

#: Raised when the same archive would be indexed otherwise.
VERSION = 1
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
        digest: Hash of what the usable samples hold.
    """

    spans: NDArray[np.int64]
    keys: list[str]
    faults: list[tuple[str, str]]
    digest: str

    @property
    def summary(self) -> ShardSummary:
        """The same in short."""
        has_objects = len(self.spans) > 0 and bool(self.spans[0, 3, 1])
        faults = dict(Counter(reason for _, reason in self.faults))
        return ShardSummary(len(self.spans), self.digest, has_objects, faults)


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
        places = zip(names, pool.map(_existing_place, names), strict=True)  # of a URL, a request
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
    place = _existing_place(shard)
    try:
        with np.load(place, allow_pickle=False) as kept:
            told = json.loads(kept["index"].tobytes())
            faults = [(key, reason) for key, reason in told["faults"]]
            return ShardIndex(kept["spans"], told["keys"], faults, told["digest"])
    except UNREADABLE:
        return _make(shard)


def _recall(place: Path) -> ShardSummary | None:
    """Return what is remembered. Not for threads: NumPy reads headers by `ast`, which fails there in 3.11."""
    try:
        with np.load(place, allow_pickle=False) as kept:
            return ShardSummary(**json.loads(kept["summary"].tobytes()))
    except UNREADABLE:
        return None


def _make(shard: str) -> ShardIndex:
    place = _existing_place(shard)  # before it is read: a change meanwhile is then noticed
    try:
        with remote.opened(shard) as file:
            found = look_into(file, _expected(shard))
    except OSError as error:
        raise _unreadable(shard, error) from None
    with suppress(OSError), atomic(place) as scratch, scratch.open("wb") as out:  # else it is made again
        index = {"keys": found.keys, "faults": found.faults, "digest": found.digest}
        np.savez(out, spans=found.spans, index=_packed(index), summary=_packed(vars(found.summary)))
    return found


def _packed(value: object) -> NDArray[np.uint8]:
    return np.frombuffer(json.dumps(value).encode(), np.uint8)


def _unreadable(shard: str, error: OSError) -> DataError:
    return DataError(f"a shard cannot be read ({error.strerror or error})", where=shard)


def _existing_place(shard: str) -> Path:
    try:
        return _place(shard)
    except OSError as error:
        raise _unreadable(shard, error) from None


def _place(shard: str) -> Path:
    key = [VERSION, *remote.state(shard), _expected(shard)]
    name = digest_of(key)[:32]
    return store.root() / "index" / name[:2] / f"{name}.npz"


def _expected(shard: str) -> int | None:
    """Return how many samples ``sizes.json`` beside an archive promises."""
    folder, _, name = shard.rpartition("/")
    with suppress(*UNREADABLE):
        sizes = Path(folder or ".", "sizes.json")
        return int(_sizes(sizes, sizes.stat().st_mtime_ns)[name])
    return None


@lru_cache(maxsize=16)
def _sizes(path: Path, changed: int) -> dict[str, int]:
    del changed  # another state of the file is another entry of the cache
    return dict(json.loads(path.read_text()))


def look_into(file: BinaryIO, expected: int | None = None) -> ShardIndex:
    """Return the index of an archive.

    Args:
        file: The archive.
        expected: Samples that it should hold, where that is known: what a cut archive lacks is then counted.
    """
    spans, keys, faults = [], [], list[tuple[str, str]]()
    hashed, seen = hashlib.sha256(), set[str]()
    for key, parts, fault in _samples(file):
        try:
            if fault or key in seen:
                raise UnusableError(fault or damage.TWICE)
            seen.add(key)
            contents = _checked(file, parts)
        except UnusableError as error:
            faults.append((key, error.reason))
            continue
        keys.append(key)
        spans.append([parts.get(part, (0, 0)) for part in PARTS])
        for content in contents:
            hashed.update(len(content).to_bytes(8, "little"))
            hashed.update(content)
    if faults and faults[-1][1] in (damage.CUT, damage.NO_ARCHIVE):
        faults += [faults[-1]] * ((expected or 0) - len(keys) - len(faults))
    array = np.array(spans, np.int64).reshape(len(spans), len(PARTS), 2)
    return ShardIndex(array, keys, faults, hashed.hexdigest())


#: Part of a sample -> offset and length.
_Parts = dict[str, tuple[int, int]]


def _samples(file: BinaryIO) -> Iterator[tuple[str, _Parts, str]]:
    """Yield the name and the parts of each sample, and what is wrong with it already."""
    key, parts, fault = "", _Parts(), ""
    try:
        tar = tarfile.open(fileobj=file, mode="r:")  # noqa: SIM115  # it holds nothing but the file
    except (EOFError, tarfile.TarError):
        yield "-", {}, damage.NO_ARCHIVE
        return
    try:
        for member in tar:
            this, ending = key_and_ending(member)
            if not (member.isfile() and this and ending):
                continue
            if this != key and key:
                yield key, _with_picture(parts), fault
                parts, fault = {}, ""
            if ending in parts:
                fault = damage.TWICE
            key, parts[ending] = this, (member.offset_data, member.size)
        check_end(tar)
    except (EOFError, tarfile.TarError):
        fault = damage.CUT  # of the last sample nobody knows whether it is whole
    if key or fault:
        yield key or "-", _with_picture(parts), fault


def _with_picture(parts: _Parts) -> _Parts:
    kind = next((kind for kind in IMAGE_TYPES if kind in parts), None)
    return parts if kind is None else {**parts, "picture": parts[kind]}


def _checked(file: BinaryIO, parts: _Parts) -> list[bytes]:
    """Return the contents of a usable sample."""
    if "picture" not in parts:
        raise UnusableError(damage.NO_PICTURE)
    contents = []
    for part in PARTS:
        offset, size = parts.get(part, (0, 0))
        file.seek(offset)
        contents.append(file.read(size))
        if len(contents[-1]) < size:
            raise UnusableError(damage.CUT)
    if not contents[0]:
        raise UnusableError(damage.EMPTY)
    if not (contents[1].strip() or contents[2].strip()):
        raise UnusableError(damage.NO_CAPTION)
    damage.check_picture(contents[0])
    return contents
