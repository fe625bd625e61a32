"""What files contain, as hashes that are remembered: a second look at a thousand shards costs a stat each.

A file is known again by its path, its size and its times of change, in nanoseconds; the memory is a small
SQLite file in the data folder, which may be deleted at any time.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager, suppress
from pathlib import Path

from pgsbench.data import store
from pgsbench.errors import DataError
from pgsbench.hashing import file_hash

#: Files hashed at a time: hashing gives other threads the processor, reading from a disk waits anyway.
THREADS = 8


def content_hashes(paths: Sequence[Path], *, progress: store.Progress | None = None) -> list[str]:
    """Return the SHA-256 of each file.

    Args:
        paths: The files.
        progress: Told how many of the files that are not remembered have been read.

    Raises:
        DataError: A file is not there or cannot be read.
    """
    try:
        states = [(str(path.resolve()), *_times(path)) for path in paths]
    except OSError as error:
        raise DataError(f"a data file cannot be read ({error.strerror})", where=str(error.filename)) from None
    with _memory() as memory:
        known = dict(zip(states, (_recall(memory, state) for state in states), strict=True))
        unknown = [state for state, found in known.items() if not found]
        with ThreadPoolExecutor(min(THREADS, max(1, len(unknown)))) as pool:
            hashes = pool.map(_hash, (Path(state[0]) for state in unknown))
            for number, (state, found) in enumerate(zip(unknown, hashes, strict=True), 1):
                known[state] = found
                _remember(memory, state, found)
                if progress:
                    progress("looking at the data", number, len(unknown))
    return [known[state] or "" for state in states]


def _times(path: Path) -> tuple[int, int, int]:
    state = path.stat()
    return state.st_size, state.st_mtime_ns, state.st_ctime_ns


def _hash(path: Path) -> str:
    try:
        return file_hash(path)
    except OSError as error:
        raise DataError(f"a data file cannot be read ({error.strerror})", where=str(path)) from None


@contextmanager
def _memory() -> Iterator[sqlite3.Connection | None]:
    """Give the memory, or None where it cannot be opened: hashing anew is slow and never wrong."""
    path = store.root() / "hashes.sqlite"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        memory = sqlite3.connect(path, timeout=10, isolation_level=None)
        columns = "path TEXT PRIMARY KEY, size INT, mtime INT, ctime INT, hash TEXT"
        memory.execute(f"CREATE TABLE IF NOT EXISTS hashes ({columns})")
    except (OSError, sqlite3.Error):
        yield None
        return
    with closing(memory):
        yield memory


def _recall(memory: sqlite3.Connection | None, state: tuple[str, int, int, int]) -> str | None:
    if memory is None:
        return None
    try:
        query = "SELECT hash FROM hashes WHERE path = ? AND size = ? AND mtime = ? AND ctime = ?"
        found = memory.execute(query, state).fetchone()
    except sqlite3.Error:
        return None
    return str(found[0]) if found else None


def _remember(memory: sqlite3.Connection | None, state: tuple[str, int, int, int], found: str) -> None:
    if memory is not None:
        with suppress(sqlite3.Error):  # a read-only folder, or another process holds it: hash anew next time
            memory.execute("INSERT OR REPLACE INTO hashes VALUES (?, ?, ?, ?, ?)", (*state, found))
