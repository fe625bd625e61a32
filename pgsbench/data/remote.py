"""Shards that lie elsewhere: copied whole into the data folder when they are read; the oldest copies go.

`PGSBENCH_CACHE_GIB` bounds the copies (fsspec's own caches of files have no bound). What is known of a shard
before it is read is its URL, its size and the checksum that its store tells.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO

from filelock import FileLock

from pgsbench.data import store
from pgsbench.disk.whole_files import atomic
from pgsbench.hashing import digest

SCHEMES = ("http://", "https://", "s3://", "gs://", "hf://")
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
        return _remote_state(shard)
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


def expand(pattern: str) -> list[str]:
    """Return the URLs that a pattern stands for; what their store tells of them is kept.

    Raises:
        OSError: It cannot be reached.
    """
    with _as_os_error():
        system = _system(pattern)
        found = {
            system.unstrip_protocol(name): told for name, told in system.glob(pattern, detail=True).items()
        }
    _known.update({url: _state_of(url, told) for url, told in found.items()})
    return sorted(found)


def _remote_state(shard: str) -> list[Any]:
    if shard not in _known:
        with _as_os_error():
            _known[shard] = _state_of(shard, _system(shard).info(shard))
    return _known[shard]


#: A process asks once: what changes under a running training would be found late.
_known: dict[str, list[Any]] = {}
#: Where stores tell a checksum; a time where they know none.
_TAGS = ("md5Hash", "crc32c", "ETag", "etag", "blob_id", "mtime", "LastModified")


def _state_of(url: str, told: Mapping[str, Any]) -> list[Any]:
    of_hub = (told.get("lfs") or {}).get("sha256")
    return [url, told.get("size"), str(of_hub or next((told[key] for key in _TAGS if told.get(key)), ""))]


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
