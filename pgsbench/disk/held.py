"""Who holds a folder: a lease of filelock's in it, seen by every process that sees the folder.

A holder touches its lease every few seconds. One that is lost is followed: on its own machine as soon as its
process is gone, elsewhere once its lease has stood still for `LEASE_SECONDS` by the clock of the one who
watches. A holder that was only frozen may come back, so it asks `Held.is_ours` before it writes.
"""

from __future__ import annotations

import functools
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from filelock import SoftFileLease, Timeout

LEASE = ".lease"
#: A lease that has stood still for so long may be taken by another process.
LEASE_SECONDS = 60.0
BEAT_SECONDS = 10.0
#: Between two looks at a lease that one waits for.
POLL_SECONDS = 0.5


@dataclass(frozen=True)
class Holder:
    """Who holds a folder, or held it last.

    Attributes:
        process: Its process id.
        host: Its machine, as filelock writes it.
        is_lost: Whether it seems to be gone; who takes the lease makes sure.
    """

    process: int
    host: str
    is_lost: bool

    def __str__(self) -> str:
        return f"process {self.process} on {self.machine}"

    @property
    def machine(self) -> str:
        """Name of its machine, without what tells containers apart."""
        return self.host.partition("?")[0]


class Held:
    """A folder that this process holds; see `hold`."""

    def __init__(self, lease: SoftFileLease) -> None:
        self._lease, self._token, self._asked = lease, lease.token, time.monotonic()

    @property
    def is_ours(self) -> bool:
        """Whether nobody has taken the folder over meanwhile; looks at the file every `BEAT_SECONDS`."""
        if self._lease.compromise is not None:
            return False
        if time.monotonic() - self._asked > BEAT_SECONDS:  # more, where this process was frozen
            owner = self._lease.owner
            if owner is not None and owner.token != self._token:
                return False
            self._asked = time.monotonic()
        return True


@contextmanager
def hold(folder: Path) -> Iterator[Held | None]:
    """Hold a folder for the block; None is given where a process that lives holds it.

    A holder that seems to be lost is watched, which takes `LEASE_SECONDS` where it is on another machine.
    """
    lease = _lease(folder)
    try:
        lease.acquire(timeout=0)
    except Timeout:
        holder = holder_of(folder)
        if holder is not None and not holder.is_lost:
            yield None
            return
        try:
            _break_empty(lease, folder)
            lease.acquire(timeout=1.5 * LEASE_SECONDS if holder else 2 * POLL_SECONDS)
        except Timeout:
            yield None
            return
    try:
        yield Held(lease)
    finally:
        with suppress(OSError):  # a folder that was deleted, or a disk that fails: the lease runs out
            lease.release()


@contextmanager
def turn(folder: Path) -> Iterator[None]:
    """Wait for one's turn in a folder, and have it for the block, which must be short."""
    lease = _lease(folder, poll_seconds=0.05)
    while not lease.is_locked:
        _break_empty(lease, folder)
        with suppress(Timeout):
            lease.acquire(timeout=LEASE_SECONDS)
    try:
        yield
    finally:
        with suppress(OSError):
            lease.release()


def _break_empty(lease: SoftFileLease, folder: Path) -> None:
    """Take away what a kill or a power cut left of a lease: filelock keeps an empty one for ever."""
    with suppress(OSError):
        found = (folder / LEASE).stat()
        if not found.st_size and abs(time.time() - found.st_mtime) > LEASE_SECONDS:
            lease.force_break()


def holder_of(folder: Path) -> Holder | None:
    """Return who holds a folder, or held it until it was lost; None: nobody does."""
    lease = _lease(folder)
    try:
        age = time.time() - (folder / LEASE).stat().st_mtime
    except OSError:
        return None
    owner = lease.owner
    if owner is None:  # being written, or torn
        return Holder(0, "unknown", abs(age) > LEASE_SECONDS)
    is_gone = owner.hostname == _this_host() and not _is_alive(owner.pid)
    return Holder(owner.pid, owner.hostname, is_gone or abs(age) > LEASE_SECONDS)


def _lease(folder: Path, *, poll_seconds: float | None = None) -> SoftFileLease:
    return SoftFileLease(
        folder / LEASE,
        lease_duration=LEASE_SECONDS,
        heartbeat_interval=BEAT_SECONDS,
        poll_interval=poll_seconds or POLL_SECONDS,
        thread_local=False,
    )


@functools.cache
def _this_host() -> str:
    """Return what a lease of this process says of its machine."""
    with TemporaryDirectory() as folder, _lease(Path(folder)) as lease:
        return lease.owner.hostname if lease.owner else ""


def _is_alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return not _is_zombie(process)


def _is_zombie(process: int) -> bool:
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] in "ZX"
    except (OSError, IndexError):
        return False
