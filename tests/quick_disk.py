"""What tests need not wait for: bytes that reach a disk, and the tables of an MLflow store."""

from __future__ import annotations

import os
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from unittest.mock import patch

from pgsbench.tracking import mlflow_store


def no_power_cut(_: int) -> None:
    """Stand for `os.fsync` where no power cut is feared."""


@contextmanager
def quick_disk(folder: Path) -> Iterator[None]:
    """Let nothing wait for the disk, and let a new MLflow store be a copy of one that is made in `folder`."""
    make, empty = mlflow_store._make, folder / "empty.db"

    def copy(database: Path) -> None:
        if not empty.exists():
            make(empty)
        shutil.copy(empty, database)

    with (
        patch.object(os, "fsync", no_power_cut),
        patch.object(sqlite3.dbapi2, "connect", _unsynchronised(sqlite3.dbapi2.connect)),
        patch.object(mlflow_store, "_make", copy),
    ):
        yield


def _unsynchronised(connect: Callable[..., sqlite3.Connection]) -> Callable[..., sqlite3.Connection]:
    def connected(*args: Any, **more: Any) -> sqlite3.Connection:
        connection = connect(*args, **more)
        with suppress(sqlite3.DatabaseError):  # a damaged one, as a test wants it
            connection.execute("PRAGMA synchronous = OFF")
        return connection

    return connected
