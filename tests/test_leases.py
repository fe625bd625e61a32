"""Leases: one holder at a time, on any machine; who is lost is followed by exactly one other."""

from __future__ import annotations

import errno
import json
import multiprocessing
import os
import shutil
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from subprocess import PIPE
from typing import Any

import pytest

from pgsbench.disk import leases
from pgsbench.disk.leases import Lease, holder_of, seems_lost

#: Holds a lease as a process of a machine of this name.
HOLD = """
import sys
from pathlib import Path
from pgsbench.disk import leases
leases.BEAT_SECONDS = 0.05
leases._machine = lambda: sys.argv[2]
lease = leases.Lease(Path(sys.argv[1]))
print(lease.take(), flush=True)
sys.stdin.read()
lease.give_back()
"""


def hold(folder: Path, machine: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", HOLD, str(folder), machine]
    process = subprocess.Popen(command, stdin=PIPE, stdout=PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "True\n"
    return process


def kill(process: subprocess.Popen[str]) -> None:
    process.send_signal(signal.SIGKILL)
    process.communicate()


def make_old(folder: Path, seconds: float) -> None:
    (file,) = folder.glob(".lease-*")
    then = time.time() - seconds
    os.utime(file, (then, then))


def test_one_holder_at_a_time(tmp_path: Path) -> None:
    first, second = Lease(tmp_path), Lease(tmp_path)
    assert holder_of(tmp_path) is None
    assert first.take()
    assert first.is_ours
    assert not second.take()
    assert str(holder_of(tmp_path)) == str(leases.this_process())
    first.give_back()
    assert not first.is_ours
    assert holder_of(tmp_path) is None
    assert second.take()
    assert second.taken_from is None
    assert len(list(tmp_path.iterdir())) == 1


def test_a_dead_process_of_this_machine_is_followed_at_once(tmp_path: Path) -> None:
    process = hold(tmp_path, leases._machine())
    lease = Lease(tmp_path)
    assert not lease.take()
    kill(process)
    assert seems_lost(tmp_path)
    assert lease.take()
    assert lease.taken_from is not None
    assert lease.taken_from.process == process.pid


def test_a_process_number_that_is_used_again_is_another_process(tmp_path: Path) -> None:
    lease = Lease(tmp_path)
    assert lease.take()
    (file,) = tmp_path.glob(".lease-*")
    said = json.loads(file.read_text())
    file.write_text(json.dumps(said | {"started": "1"}))
    assert seems_lost(tmp_path)
    assert not leases._held(tmp_path, 1)


def test_another_machine_is_followed_after_its_lease_and_a_watch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(leases, "WATCH_SECONDS", 0.3)
    process = hold(tmp_path, "elsewhere")
    lease = Lease(tmp_path)
    make_old(tmp_path, 1000)  # it lives, and touches the file again soon
    time.sleep(0.2)
    assert not seems_lost(tmp_path)
    kill(process)
    assert not lease.take()
    assert not seems_lost(tmp_path)
    make_old(tmp_path, 1000)
    assert seems_lost(tmp_path)
    assert not lease.take()  # the watch begins
    time.sleep(0.35)
    assert lease.take()


def test_a_clock_that_jumps_takes_nobodys_lease(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leases, "WATCH_SECONDS", 0.3)
    process = hold(tmp_path, "elsewhere")
    lease, until = Lease(tmp_path), time.monotonic() + 1.0
    for jump in (1000, -1000):
        while time.monotonic() < until:
            make_old(tmp_path, jump)  # as of a clock that has jumped between two beats
            assert not lease.take()
            time.sleep(0.07)
        until += 1.0
    kill(process)


def test_who_was_followed_sees_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leases, "BEAT_SECONDS", 0.02)
    lease = Lease(tmp_path)
    assert lease.take()
    other = leases._make(tmp_path / ".lease-000002.held")
    assert other
    time.sleep(0.1)
    assert not lease.is_ours
    lease.give_back()
    assert (tmp_path / ".lease-000002.held").is_file()


def test_a_holder_that_cannot_be_seen_for_long_gives_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lease = Lease(tmp_path)
    assert lease.take()
    monkeypatch.setattr(leases, "BEAT_SECONDS", 0.02)
    monkeypatch.setattr(leases, "LEASE_SECONDS", 0.1)

    def broken(*_: object) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(os, "utime", broken)
    time.sleep(0.12)
    assert not lease.is_ours


def test_a_deleted_folder_ends_the_lease(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leases, "BEAT_SECONDS", 0.02)
    folder = tmp_path / "run"
    folder.mkdir()
    lease = Lease(folder)
    assert lease.take()
    shutil.rmtree(folder)
    time.sleep(0.1)
    assert not lease.is_ours
    lease.give_back()
    assert not folder.exists()


@pytest.mark.parametrize("call", ["rename", "unlink", "iterdir"])
def test_a_disk_that_fails_leaves_nobody_waiting(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    """A process must not wait for a lease that it could not give back, nor let others wait for it."""
    monkeypatch.setattr(leases, "BEAT_SECONDS", 0.02)
    first, whole, calls = Lease(tmp_path), getattr(Path, call), list[Path]()

    def fails(path: Path, *args: Any, **options: Any) -> Any:
        if path.is_relative_to(tmp_path):
            calls.append(path)
            if len(calls) >= (2 if call == "iterdir" else 1):  # the first look tells that it is free
                raise OSError(errno.EIO, "Input/output error")
        return whole(path, *args, **options)

    with monkeypatch.context() as patch:
        patch.setattr(Path, call, fails)
        with suppress(OSError):
            first.take()
        first.give_back()
        assert calls
        if call == "rename":
            assert holder_of(tmp_path) == leases.this_process()  # others see that it is held
            assert Lease(tmp_path).take()
            assert not Lease(tmp_path).take()
            return
    until = time.monotonic() + 60
    while holder_of(tmp_path) and time.monotonic() < until:
        time.sleep(0.02)
    assert holder_of(tmp_path) is None


@pytest.mark.parametrize("call", ["read_text", "iterdir"])
def test_a_file_that_another_machine_removed_is_gone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    assert Lease(tmp_path).take()

    def stale(_: Path) -> Any:
        raise OSError(errno.ESTALE, "Stale file handle")

    monkeypatch.setattr(Path, call, stale)
    assert holder_of(tmp_path) is None
    assert not seems_lost(tmp_path)


def test_of_many_that_follow_a_lost_one_exactly_one_does(tmp_path: Path) -> None:
    for number in range(30):
        folder = tmp_path / str(number)
        folder.mkdir()
        gone = Lease(folder)
        assert gone.take()
        (file,) = folder.glob(".lease-*")
        file.write_text(json.dumps(json.loads(file.read_text()) | {"started": "1"}))
        with ThreadPoolExecutor(8) as pool:
            taken = list(pool.map(lambda lease: lease.take(), [Lease(folder) for _ in range(8)]))
        assert sum(taken) == 1


def _count(folder: Path, rounds: int) -> None:
    for _ in range(rounds):
        lease = Lease(folder)
        while not lease.take():
            time.sleep(0.001)
        number = int((folder / "number").read_text())
        time.sleep(0.001)
        (folder / "number").write_text(str(number + 1))
        lease.give_back()


def test_processes_that_share_a_lease_count_correctly(tmp_path: Path) -> None:
    (tmp_path / "number").write_text("0")
    context = multiprocessing.get_context("fork")
    processes = [context.Process(target=_count, args=(tmp_path, 25)) for _ in range(4)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert (tmp_path / "number").read_text() == "100"


def test_a_file_system_without_links_will_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_links(*_: object) -> None:
        raise PermissionError

    monkeypatch.setattr(os, "link", no_links)
    first, second = Lease(tmp_path), Lease(tmp_path)
    assert first.take()
    assert not second.take()
