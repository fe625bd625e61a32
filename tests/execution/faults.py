"""Faults for `chaos.py`: what strikes processes from outside, and what their writes meet."""

from __future__ import annotations

import os
import random
import signal
import sqlite3
import time
from collections.abc import Sequence
from contextlib import closing, suppress
from multiprocessing.process import BaseProcess
from pathlib import Path

from pgsbench import files as files_module
from pgsbench.records import files

#: File that is there for as long as writes meet a fault -> the fault.
WRITES = {"disk-is-full": "disk full", "eio": "EIO", "torn": "torn write"}
FAULTS = (
    "kill one",
    "kill all",
    "power cut",
    "freeze",
    *WRITES.values(),
    "clock jumps",
    "database locked",
)


def let_writes_fail(root: Path) -> None:
    """Let what this process brings to the disk fail for as long as a file in `root` says so.

    Full disk and EIO: the write is refused. Torn: half of the file is there, and the process dies.
    """
    whole = files_module.os.fsync

    def fsync(number: int) -> None:
        if (root / "disk-is-full").exists():
            raise OSError(28, "No space left on device")
        if (root / "eio").exists():
            raise OSError(5, "Input/output error")
        if (root / "torn").exists():
            path = Path(f"/proc/self/fd/{number}").resolve()
            os.truncate(path, path.stat().st_size // 2)
            os.kill(os.getpid(), signal.SIGKILL)
        whole(number)

    files_module.os.fsync = fsync


def strike(fault: str, chance: random.Random, processes: Sequence[BaseProcess], root: Path) -> None:
    """Do one fault to the processes that work in `root`."""
    alive = [process for process in processes if process.is_alive()]
    if fault == "kill one" and alive:
        os.kill(chance.choice(alive).pid or 0, signal.SIGKILL)
    elif fault in ("kill all", "power cut"):
        for process in alive:
            process.kill()
        if fault == "power cut":
            for process in alive:
                process.join()
            _lose_last_bytes(root)
    elif fault == "freeze" and alive:
        process = chance.choice(alive)
        os.kill(process.pid or 0, signal.SIGSTOP)
        time.sleep(0.3)
        os.kill(process.pid or 0, signal.SIGCONT)
    elif fault in WRITES.values():
        mark = root / next(name for name, what in WRITES.items() if what == fault)
        mark.touch()
        time.sleep(0.15)
        mark.unlink()
    elif fault == "clock jumps":
        then = time.time() + chance.choice((-1e5, 1e5))
        for path in root.glob("tiny/**/.lease-*.held"):
            with suppress(FileNotFoundError):
                os.utime(path, (then, then))
    elif fault == "database locked" and (root / "tiny/optuna.db").is_file():
        with suppress(sqlite3.Error), closing(sqlite3.connect(root / "tiny/optuna.db")) as connection:
            connection.execute("BEGIN EXCLUSIVE")
            time.sleep(0.2)


def _lose_last_bytes(root: Path) -> None:
    """Tear the last line of metrics of each run under way, as bytes that never came to the disk."""
    for path in root.glob(f"tiny/*/{files.METRICS}"):
        size = path.stat().st_size
        if size > 10 and not (path.parent / files.DONE).exists():
            os.truncate(path, size - 10)
