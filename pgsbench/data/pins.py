"""That data stays what it was: what was seen of shards and pictures is compared when it is seen again.

A pin is a number of a few bytes, 0 while nothing was seen. All readers of a machine share the files.
"""

from __future__ import annotations

import zlib
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pgsbench.errors import DataError


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
