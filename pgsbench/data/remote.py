"""Shards that lie elsewhere: copied whole into the data folder when they are read; the oldest copies go.

`PGSBENCH_CACHE_GIB` bounds the copies. What is known of a shard is its URL, its size and its entity tag.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import lru_cache
from pathlib import Path
from typing import Any, BinaryIO

from filelock import FileLock

from pgsbench.data import store
from pgsbench.disk.whole_files import atomic
from pgsbench.hashing import digest

SCHEMES = ("http://", "https://", "s3://", "gs://")
#: Picture files are not larger.
MAX_BYTES = 2**26
#: Copies take so much of the disk, unless `PGSBENCH_CACHE_GIB` says otherwise.
DEFAULT_GIB = 64.0


def is_remote(shard: str) -> bool:
    """Tell whether this is the URL of a file elsewhere."""
    return shard.startswith(SCHEMES)


def state(shard: str) -> list[Any]:
    """Return what tells a changed shard from the one before: of a file its size and times, of a URL its tag.

    Raises:
        OSError: There is none.
    """
    if is_remote(shard):
        return list(_remote_state(shard))
    path = Path(shard)
    status = path.stat()
    return [str(path.resolve()), status.st_size, status.st_mtime_ns, status.st_ctime_ns]


def opened(shard: str) -> BinaryIO:
    """Return a shard opened for reading, copied here first where it lies elsewhere.

    Raises:
        OSError: It cannot be copied.
    """
    if not is_remote(shard):
        return Path(shard).open("rb")
    path = store.root() / "remote" / f"{digest(state(shard))[:32]}.tar"
    path.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(path.with_suffix(".lock")):  # the readers of a run want the same shards
        with suppress(FileNotFoundError):
            os.utime(path)
            return path.open("rb")
        with atomic(path) as scratch:
            copy(shard, scratch)
            file = scratch.open("rb")
        _make_room(path)
    return file


def copy(url: str, target: Path) -> None:
    """Copy the file of a URL.

    Raises:
        OSError: There is none, it cannot be reached, or the disk refuses.
    """
    with _as_os_error():
        _system(url).get_file(url, str(target))


def content(place: str) -> bytes:
    """Return the content of a file or a URL, up to `MAX_BYTES`.

    Raises:
        OSError: There is none, or it cannot be reached.
    """
    if not is_remote(place):
        with Path(place).open("rb") as file:
            return file.read(MAX_BYTES)
    with _as_os_error(), _system(place).open(place, "rb") as file:
        return bytes(file.read(MAX_BYTES))


def _make_room(newest: Path) -> None:
    # A copy that is open stays readable when its name is gone.
    limit = float(os.environ.get("PGSBENCH_CACHE_GIB", DEFAULT_GIB)) * 2**30
    with suppress(FileNotFoundError):  # another process makes room, too
        copies = sorted(newest.parent.glob("*.tar"), key=lambda path: path.stat().st_mtime)
        total = sum(path.stat().st_size for path in copies)
        for path in copies:
            if total <= limit:
                break
            if path == newest:  # copies of one moment come in any order
                continue
            total -= path.stat().st_size
            path.unlink()


@lru_cache(maxsize=100_000)  # a process asks once: what changes under a running training would be found late
def _remote_state(shard: str) -> tuple[Any, ...]:
    with _as_os_error():
        told = _system(shard).info(shard)
    tag = next(
        (str(told[key]) for key in ("ETag", "etag", "md5Hash", "mtime", "LastModified") if key in told), ""
    )
    return shard, told.get("size"), tag


@contextmanager
def _as_os_error() -> Iterator[None]:
    # Each protocol's library has errors of its own for what a server may answer, or not answer. Where it is
    # missing, fsspec says its name.
    try:
        yield
    except OSError:
        raise
    except Exception as error:
        raise OSError(f"{type(error).__name__}: {error}") from error


def _system(url: str) -> Any:
    import fsspec  # slow to import, and seldom needed

    scheme = url.partition("://")[0]
    if scheme not in ("http", "https"):
        return fsspec.filesystem(scheme)
    from fsspec.implementations.http import aiohttp

    patience = aiohttp.ClientTimeout(sock_connect=10, sock_read=60)  # by default all of a file has 5 minutes
    return fsspec.filesystem(scheme, client_kwargs={"timeout": patience})
