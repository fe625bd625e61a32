"""What is known of archives: where the samples of a tar lie in it, and what was seen of it before.

An index is made when an archive is opened for the first time, then remembered. Headers and captions are read,
never pictures. It is kept in the data folder under the archive's path, size and times of change, and may be
deleted at any time. How many samples an archive has is asked of files beside it first: no archive is opened
for it then.

A pin is a number of a few bytes, 0 while nothing was seen. It is compared when data is seen again: data stays
what it was. All readers of a machine share the files.
"""

from __future__ import annotations

import hashlib
import json
import zlib
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from pgsbench.data import damage, remote, store
from pgsbench.data.tar import IMAGE_TYPES, TWICE, Parts, content_of, samples_of
from pgsbench.disk.whole_files import UNREADABLE, atomic
from pgsbench.errors import DataError
from pgsbench.hashing import digest

#: Raised when the same archive would be indexed otherwise.
VERSION = 3
#: Archives looked at together: reading waits.
THREADS = 8

#: Parts of a sample, in the order of `ShardIndex.spans`; the picture may have any of `IMAGE_TYPES`.
PARTS = ("picture", "txt", "captions.txt", "objects.png")


@dataclass(frozen=True)
class ShardIndex:
    """The samples of an archive, usable or not.

    Attributes:
        spans: (n, 4, 2) offset and length in bytes of each of `PARTS`; length 0: there is none.
        keys: Name of each sample.
        faults: Place of a sample that cannot be used -> why.
        digest: Hash of names, captions and the lengths of pictures.
    """

    spans: NDArray[np.int64]
    keys: list[str]
    faults: dict[int, str]
    digest: str


def sizes_of(shards: Sequence[str], *, progress: store.Progress | None = None) -> list[int]:
    """Return the number of samples of each archive.

    The first that knows it: ``sizes.json`` in its folder, as open_clip and webdataset have it; img2dataset's
    ``NAME_stats.json`` beside it; the index that is remembered; its headers.

    Args:
        shards: The archives, paths or URLs.
        progress: Told how many of those that had to be opened have been.

    Raises:
        DataError: An archive is not there or may not be read.
    """
    names = list(dict.fromkeys(shards))
    with ThreadPoolExecutor(THREADS) as pool:
        folders = list(dict.fromkeys(name.rpartition("/")[0] for name in names))
        listed = dict(zip(folders, pool.map(_listed, folders), strict=True))
        known = {
            name: _number(listed[name.rpartition("/")[0]].get(name.rpartition("/")[2])) for name in names
        }
        for source in (_of_stats, _remembered):
            lacking = [name for name, size in known.items() if size is None]
            known |= zip(lacking, pool.map(source, lacking), strict=True)
        unknown = [name for name, size in known.items() if size is None]
        for number, (shard, found) in enumerate(zip(unknown, pool.map(_make, unknown), strict=True), 1):
            known[shard] = len(found.keys)
            if progress:
                progress("counting pairs", number, len(unknown))
    return [known[shard] or 0 for shard in shards]


def _listed(folder: str) -> Mapping[str, Any]:
    return _json(f"{folder}/sizes.json" if folder else "sizes.json")


def _of_stats(shard: str) -> int | None:
    return _number(_json(f"{shard.removesuffix('.tar')}_stats.json").get("successes"))


def _json(place: str) -> Mapping[str, Any]:
    try:
        found = json.loads(remote.content(place))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _number(told: object) -> int | None:
    return told if isinstance(told, int) and told >= 0 else None


def _remembered(shard: str) -> int | None:
    with suppress(*UNREADABLE), _place(shard).open("rb") as file:
        return _number(json.loads(file.readline()))
    return None


def index_of(shard: str) -> ShardIndex:
    """Return the index of an archive, made now where it is not remembered.

    Raises:
        DataError: It is not there or may not be read.
    """
    try:
        with _place(shard).open("rb") as file:
            size, (keys, faults, hashed) = (json.loads(file.readline()) for _ in range(2))
            spans = np.frombuffer(file.read(), np.int64).reshape(size, len(PARTS), 2)
        return ShardIndex(spans, keys, {int(place): why for place, why in faults.items()}, hashed)
    except UNREADABLE:
        return _make(shard)


def _make(shard: str) -> ShardIndex:
    place = _place(shard)  # before it is read: a change meanwhile is then noticed
    try:
        with remote.opened(shard) as file:
            found = look_into(file)
    except OSError as error:
        raise unreadable(shard, error) from None
    with suppress(OSError), atomic(place) as scratch:  # else it is made again
        # No file of NumPy's: its headers, read in threads, fail on CPython 3.11.
        lines = [json.dumps(one) for one in (len(found.keys), [found.keys, found.faults, found.digest])]
        scratch.write_bytes("".join(f"{line}\n" for line in lines).encode() + found.spans.tobytes())
    return found


def _place(shard: str) -> Path:
    try:
        name = digest([VERSION, *remote.state(shard)])[:32]
    except OSError as error:
        raise unreadable(shard, error) from None
    return store.root() / "index" / name[:2] / name


def unreadable(shard: str, error: OSError) -> DataError:
    """Return the error of a shard that is not there or may not be read."""
    return DataError(f"a shard cannot be read ({error.strerror or error})", where=shard)


def look_into(file: BinaryIO) -> ShardIndex:
    """Return the index of an archive."""
    spans, keys, faults = [], list[str](), dict[int, str]()
    hashed, seen = hashlib.sha256(), set[str]()
    for key, parts, fault in samples_of(file):
        picture = next((parts[kind] for kind in IMAGE_TYPES if kind in parts), (0, 0))
        found = [picture, *(parts.get(part, (0, 0)) for part in PARTS[1:])]
        captions = b"\n".join(content_of(file, *span) for span in found[1:3] if span[1])
        if reason := (fault or _fault_of(key, parts, found, captions, seen)):
            faults[len(keys)] = reason
        seen.add(key)
        keys.append(key)
        spans.append(found)
        told = (key, *(str(size) for _, size in found), str(len(captions)), "")
        hashed.update("\0".join(told).encode(errors="surrogateescape") + captions)
    array = np.array(spans, np.int64).reshape(len(spans), len(PARTS), 2)
    return ShardIndex(array, keys, faults, hashed.hexdigest())


def _fault_of(key: str, parts: Parts, found: list[tuple[int, int]], captions: bytes, seen: set[str]) -> str:
    if key in seen:
        return TWICE
    if not any(kind in parts for kind in IMAGE_TYPES):
        return damage.NO_PICTURE
    if not found[0][1]:
        return damage.EMPTY
    return "" if captions.strip() else damage.NO_CAPTION


class Pins:
    """What was seen of some data before, by any run on this machine and by the run that goes on.

    Args:
        folder: Of the data set.
        run: A file of the run, which a resume elsewhere finds; None: there is none.
        num_shards: Shards of the data.
        num_samples: Samples of the data.
    """

    def __init__(self, folder: Path, run: Path | None, num_shards: int, num_samples: int) -> None:
        tables = [folder / "tables", *([] if run is None else [run])]
        self._tables = [_mapped(path, np.dtype("u8"), num_shards) for path in tables]
        self._pictures = _mapped(folder / "pictures", np.dtype("u4"), num_samples)

    def knows(self, shard: int) -> bool:
        """Whether it was seen what the shard of a number holds."""
        return any(bool(table[shard]) for table in self._tables)

    def check_shard(self, shard: int, digest: str, where: str) -> None:
        """Compare names, captions and lengths of a shard.

        Args:
            shard: Its number.
            digest: Hash of them.
            where: Its place.

        Raises:
            DataError: They were others before.
        """
        for table in self._tables:
            _check(table, shard, int(digest[:16], 16) or 1, where)

    def check_picture(self, sample: int, content: bytes, where: str) -> None:
        """Compare the bytes of a picture.

        Raises:
            DataError: They were others before.
        """
        _check(self._pictures, sample, zlib.crc32(content) or 1, where)


def changed(where: str) -> DataError:
    """Return the error of a shard that is another than before."""
    return DataError(
        "this shard is no longer what it was when it was read before",
        where=where,
        way_out="put it back, and the same command goes on; or give shards that are meant to be others names "
        "of their own: they are then other data",
    )


def _check(pins: NDArray[Any], place: int, value: int, where: str) -> None:
    if not pins[place]:
        pins[place] = value
    elif int(pins[place]) != value:
        raise changed(where)


def _mapped(path: Path, kind: np.dtype[Any], count: int) -> NDArray[Any]:
    with suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("ab") as file:
            file.truncate(count * kind.itemsize)  # sparse: disks hold what was seen
        return np.memmap(path, kind, "r+", shape=(count,))
    return np.zeros(count, kind)  # nothing can be written: known to this process alone
