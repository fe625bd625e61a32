"""Leases: who works on what lies in a folder, seen by every process that sees the folder.

File locks end at one machine, or lie on some network file systems. A lease is a file with a number,
``.lease-000001.held``; whoever first makes the file of the next number has it. Its holder touches it every
few seconds. One that is given back is renamed to ``.free``, which needs no space on a full disk.

A holder on this machine is lost when its process is gone. One on another machine is lost when its file is
older than `LEASE_SECONDS` by the clock of the file system, and does not change while one watches it: no two
clocks are compared, and a clock that jumps is not enough.
"""

from __future__ import annotations

import errno
import functools
import json
import os
import re
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from pgsbench.disk.whole_files import given_name

BEAT_SECONDS = 10.0
#: A holder that has not touched its lease for so long may be lost.
LEASE_SECONDS = 60.0
#: How long one watches the lease of another machine before it is taken over.
WATCH_SECONDS = 2.5 * BEAT_SECONDS

HELD, FREE = "held", "free"
#: Errors that say that a file or folder is gone; on NFS the third one, where another machine removed it.
_GONE = (errno.ENOENT, errno.ENOTDIR, errno.ESTALE)
#: Leases that this process has no more, which the file system has not yet let it give back.
_left: set[tuple[str, int]] = set()
_NAME = re.compile(rf"\.lease-(\d+)\.({HELD}|{FREE})")


@dataclass(frozen=True)
class Holder:
    """Who has a lease.

    Attributes:
        process: Its process id.
        host: Name of its machine.
        machine: Tells machines, their starts and their containers apart.
        started: When the process began, in a unit of its machine; process ids are used again.
        job: Job of a cluster, or empty.
    """

    process: int
    host: str
    machine: str
    started: str
    job: str = ""

    def __str__(self) -> str:
        return f"process {self.process} on {self.host}"

    @property
    def is_here(self) -> bool:
        """Whether the process is one of this machine, so that one can ask whether it lives."""
        return self.machine == _machine()

    @property
    def is_gone(self) -> bool:
        """Whether it is known that the process has ended."""
        return self.is_here and _start_of(self.process) != self.started


class _File(NamedTuple):
    number: int
    state: str
    path: Path


class Lease:
    """The lease of one folder, for one process.

    Args:
        folder: The folder; it must exist.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._number, self._touched = 0, 0.0
        self._given_back = threading.Event()
        self._watched: tuple[object, float] | None = None
        #: Whether a holder that seemed to be lost has touched its lease since, as where clocks differ.
        self.has_seen_life = False
        #: From whom it was taken, where that one was lost.
        self.taken_from: Holder | None = None

    def take(self) -> bool:
        """Take the lease if it can be had now, and tell whether that was so.

        A lease of another machine whose holder seems to be lost is watched from the first call on; it can be
        had after `WATCH_SECONDS`.
        """
        last = _last(self.folder)
        self.taken_from = None
        if last is not None and last.state != FREE:
            holder = _read(last)
            is_left = _is_us(holder) and _key(self.folder, last.number) in _left
            if holder is None or not (is_left or self._is_lost(last, holder)):
                return False
            self.taken_from = None if is_left else holder
        number = last.number + 1 if last else 1
        try:
            if not self._make(number):
                return False
        except OSError:  # it may stand there all the same
            _let_go(self.folder, number)
            raise
        self._number, self._touched = number, time.monotonic()
        self._given_back.clear()
        threading.Thread(target=self._beat, daemon=True).start()
        return True

    def give_back(self) -> None:
        """End the lease; one that was taken over is left alone.

        Where the file system fails, this is tried again for as long as the process lives.
        """
        self._given_back.set()
        if self._number:
            _let_go(self.folder, self._number)
        self._number = 0

    @property
    def is_ours(self) -> bool:
        """Whether the lease is still this process's: nobody took it over, and others could see it live."""
        if time.monotonic() - self._touched < 2 * BEAT_SECONDS:
            return self._number > 0
        self._touch()
        return self._number > 0 and time.monotonic() - self._touched < LEASE_SECONDS

    def _make(self, number: int) -> bool:
        mine = self.folder / f".lease-{number:06d}.{HELD}"
        if not _make(mine):
            return False
        if any(file.number >= number and file.path != mine for file in _files(self.folder)):
            mine.unlink(missing_ok=True)  # it was taken, given back and perhaps taken again meanwhile
            return False
        for file in _files(self.folder):
            if file.number < number:
                file.path.unlink(missing_ok=True)
        return True

    def _is_lost(self, file: _File, holder: Holder) -> bool:
        if holder.is_here:
            return holder.is_gone
        state = _state_of(file.path)
        if state is None or not _is_old(file.path):
            self._watched = None
            return False
        if self._watched is None or self._watched[0] != state:
            self.has_seen_life = self._watched is not None
            self._watched = (state, time.monotonic())
        return time.monotonic() - self._watched[1] >= WATCH_SECONDS

    def _beat(self) -> None:
        while not self._given_back.wait(BEAT_SECONDS):
            self._touch()

    def _touch(self) -> None:
        try:
            mine = _held(self.folder, self._number)
            if not mine:  # taken over, or the folder was deleted
                self._number = 0
                self._given_back.set()
            for file in mine:
                os.utime(file.path)
                self._touched = time.monotonic()
        except OSError:  # the file system may come back; `is_ours` says when that is too late
            pass


def _held(folder: Path, number: int) -> list[_File]:
    """Return the file of a lease that this process has had; empty: it is another's, or free."""
    last = _last(folder) if number else None
    is_mine = last is not None and last.number == number and last.state != FREE
    return [last] if last is not None and is_mine and _is_us(_read(last)) else []


def _let_go(folder: Path, number: int) -> None:
    """Free a lease now, or as soon as the file system allows it."""

    def free() -> bool:
        try:
            for file in _held(folder, number):
                with suppress(FileNotFoundError):
                    file.path.rename(folder / f".lease-{number:06d}.{FREE}")
        except OSError:
            return False
        _left.discard(_key(folder, number))
        return True

    def free_later() -> None:
        while not free():
            time.sleep(BEAT_SECONDS)

    if not free():
        _left.add(_key(folder, number))  # until then this process may take it again
        threading.Thread(target=free_later, daemon=True).start()


def _key(folder: Path, number: int) -> tuple[str, int]:
    return os.path.realpath(folder), number


def holder_of(folder: Path) -> Holder | None:
    """Return who has the lease of a folder, lost or not; None where nobody has it."""
    last = _last(folder)
    return _read(last) if last is not None and last.state != FREE else None


def seems_lost(folder: Path) -> bool:
    """Tell whether the holder of a folder's lease seems to be lost; `Lease.take` makes sure."""
    last = _last(folder)
    holder = _read(last) if last is not None and last.state != FREE else None
    if last is None or holder is None:
        return False
    return holder.is_gone if holder.is_here else _is_old(last.path)


def was_had_lately(folder: Path) -> bool:
    """Tell whether somebody took the lease of a folder less than `LEASE_SECONDS` ago, or has it and lives."""
    last = _last(folder)
    return last is not None and not _is_old(last.path)


def this_process() -> Holder:
    """Return this process as the holder of a lease."""
    process = os.getpid()
    return Holder(process, socket.gethostname(), _machine(), _start_of(process), cluster_job())


def cluster_job() -> str:
    """Return the job of SLURM that this process is part of, as `squeue --array` calls it; empty: none."""
    array, task = (os.environ.get(f"SLURM_ARRAY_{part}_ID") for part in ("JOB", "TASK"))
    return f"{array}_{task}" if array else os.environ.get("SLURM_JOB_ID", "")


def _is_us(holder: Holder | None) -> bool:
    us = this_process()
    return holder is not None and (holder.process, holder.machine, holder.started) == (
        us.process,
        us.machine,
        us.started,
    )


def _files(folder: Path) -> Iterator[_File]:
    try:
        paths = list(folder.iterdir())  # `Path.glob` leaves errors out, and with them leases
    except OSError as error:
        if error.errno in _GONE:
            return
        raise
    for path in paths:
        if found := _NAME.fullmatch(path.name):
            yield _File(int(found[1]), found[2], path)


def _last(folder: Path) -> _File | None:
    # Of one number, `held` stands before `free`: somebody is about to see that it came too late.
    return max(_files(folder), key=lambda file: (file.number, file.state != FREE), default=None)


def _make(path: Path) -> bool:
    """Make the file of a lease whole, and tell whether this process was the first."""
    us = this_process()
    text = json.dumps({key: getattr(us, key) for key in ("process", "host", "machine", "started", "job")})
    scratch = path.with_name(f".{path.name}.{os.getpid()}-{threading.get_ident()}.tmp")
    try:
        scratch.write_text(text)
        return given_name(scratch, path)
    finally:
        with suppress(OSError):
            scratch.unlink(missing_ok=True)


def _read(file: _File) -> Holder | None:
    try:
        said: dict[str, Any] = json.loads(file.path.read_text())
        return Holder(**said)
    except OSError as error:
        if error.errno in _GONE:  # given back or taken over this moment
            return None
        raise
    except (ValueError, TypeError):  # being written, or torn by a crash
        return Holder(0, "unknown", "", "")


def _state_of(path: Path) -> object | None:
    try:
        with path.open("rb") as file:  # opening asks a network file system anew
            found = os.fstat(file.fileno())
    except OSError:
        return None
    return found.st_mtime_ns, found.st_ino


def _is_old(path: Path) -> bool:
    """Tell whether a file was not touched for `LEASE_SECONDS`, or seems to come from the future."""
    probe = path.with_name(f".clock-{os.getpid()}-{threading.get_ident()}.tmp")
    try:
        probe.write_bytes(b"")
        now = probe.stat().st_mtime
        with path.open("rb") as file:
            age = now - os.fstat(file.fileno()).st_mtime
    except OSError:
        return False
    finally:
        with suppress(OSError):
            probe.unlink()
    return not -1.0 <= age <= LEASE_SECONDS


@functools.cache
def _machine() -> str:
    try:  # a container has process ids of its own, and often its host's name
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{boot} {Path('/proc/self/ns/pid').readlink()}"
    except OSError:
        return socket.gethostname()


def _start_of(process: int) -> str:
    """Return when a process of this machine began; empty where it is gone."""
    try:
        fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
        return "" if fields[0] in "ZX" else fields[19]
    except OSError:
        pass
    if Path("/proc/self").exists():
        return ""
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return ""
    except PermissionError:
        pass
    return "alive"
