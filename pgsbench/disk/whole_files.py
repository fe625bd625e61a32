"""Files that are replaced as a whole."""

from __future__ import annotations

import os
import threading
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from zipfile import BadZipFile

#: What reading JSON or arrays (``.npz``) raises where the file is missing, damaged or not what is expected.
UNREADABLE = (OSError, ValueError, KeyError, TypeError, EOFError, BadZipFile, zlib.error, RecursionError)


def unwritable(folder: Path) -> str:
    """Return why nothing can be written below a folder, which need not exist yet; empty: it can."""
    there = next(path for path in (folder, *folder.absolute().parents) if os.access(path, os.F_OK))
    if not there.is_dir():
        return f"{there} is no folder"
    if not os.access(there, os.W_OK | os.X_OK):
        return f"{there} may not be written to"
    try:  # a folder of the system's own, such as /proc, says that it may
        TemporaryDirectory(prefix=".", dir=there).cleanup()
    except OSError as error:
        return f"{there} takes no folder ({error.strerror})"
    return ""


def is_file(path: Path) -> bool:
    """Tell whether there is such a file; a name that no file can have, such as a long one, is none."""
    try:
        return path.is_file()
    except OSError:
        return False


@contextmanager
def atomic(path: Path) -> Iterator[Path]:
    """Give a hidden path beside `path` to write to; when the block ends, the file there takes its place.

    A reader sees the old file or the new one, nothing between. Where the block raises, the old one stays.
    The hidden name ends in ``.tmp``, so that no pattern such as ``*.json`` finds it. The file may be read by
    whom the process's umask says, also where a library that writes it makes it private.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    scratch = path.with_name(f".{path.name}.{os.getpid()}-{threading.get_ident()}.tmp")
    try:
        scratch.touch()
        mode = scratch.stat().st_mode
        yield scratch
        scratch.chmod(mode)
        with scratch.open("rb") as file:
            os.fsync(file.fileno())  # else a power cut can leave the new name on an empty file
        scratch.replace(path)
    finally:
        scratch.unlink(missing_ok=True)
