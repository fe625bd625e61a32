"""SQLite files that a library fills with its tables: made whole or not at all.

A library makes its tables step by step. A process that is killed meanwhile leaves a file that no later one
can use. So the tables are made in a scratch file, which then takes the database's name. A file that is
damaged all the same is moved aside; nothing is deleted.
"""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Callable, Sequence
from contextlib import closing
from datetime import datetime
from pathlib import Path

from pgsbench.disk.whole_files import atomic

#: What SQLite writes beside a database; it belongs to the file of that name.
_COMPANIONS = ("-journal", "-wal", "-shm")


def lock_path(database: Path) -> Path:
    """Return the file whose lock one must hold to call `prepare`."""
    return database.with_name(f".{database.name}.lock")


def prepare(database: Path, *, filled: Sequence[str], make: Callable[[str], None]) -> None:
    """Make a database where there is none; move a damaged one aside first, and say so.

    Args:
        database: The absolute path of the file.
        filled: Tables that have rows in every whole database.
        make: Makes the tables in a new file, given its URL, and closes the file.
    """
    for left in database.parent.glob(f".{database.name}.*.tmp*"):  # by a process that was killed
        left.unlink(missing_ok=True)
    if not _is_empty(database) and damage(database, filled=filled):
        _move_aside(database)
    if _is_empty(database):
        with atomic(database) as scratch:
            make(f"sqlite:///{scratch}")


def damage(database: Path, *, filled: Sequence[str]) -> str:
    """Return why a database cannot be used; empty where it can, or where only its user can tell.

    Args:
        database: The absolute path of the file.
        filled: Tables that have rows in every whole database.
    """
    try:
        # Writable, so that SQLite mends what a killed writer left half done.
        with closing(sqlite3.connect(f"{database.as_uri()}?mode=rw", uri=True, timeout=0)) as connection:
            connection.execute("SELECT 1 FROM sqlite_master LIMIT 1")
            for table in filled:
                if connection.execute(f"SELECT 1 FROM {table} LIMIT 1").fetchone() is None:
                    return f"table {table} is empty"
    except sqlite3.OperationalError as error:  # such as locked: somebody works with it, so it works
        return str(error) if "no such table" in str(error) else ""
    except sqlite3.DatabaseError as error:
        return str(error)
    return ""


def _is_empty(database: Path) -> bool:
    return not database.is_file() or not database.stat().st_size


def _move_aside(database: Path) -> None:
    name = f"{database.name}.damaged-{datetime.now():%Y%m%d-%H%M%S-%f}"
    for ending in ("", *_COMPANIONS):
        part = database.with_name(database.name + ending)
        if part.is_file():
            part.rename(database.with_name(name + ending))
    logging.getLogger(__name__).warning(
        "%s was damaged and is now called %s; a new one takes its place", database, name
    )
