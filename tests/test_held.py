"""One holder at a time; who is lost is followed by exactly one other; who was frozen does not go on."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from subprocess import PIPE

import pytest

from pgsbench.disk import held
from pgsbench.disk.held import LEASE, hold, holder_of

#: Holds a folder, as a process of another machine where one is named.
HOLD = """
import sys
from pathlib import Path
from pgsbench.disk import held
held.BEAT_SECONDS, held.LEASE_SECONDS = 0.1, 1.0
if len(sys.argv) > 2:
    from filelock._soft._exclusive import _marker
    _marker.host_name = lambda: sys.argv[2]
with held.hold(Path(sys.argv[1])) as ours:
    print(ours is not None, flush=True)
    sys.stdin.readline()
"""


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (("BEAT_SECONDS", 0.1), ("LEASE_SECONDS", 1.0), ("POLL_SECONDS", 0.02)):
        monkeypatch.setattr(held, name, value)


def elsewhere(folder: Path, *machine: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", HOLD, str(folder), *machine]
    process = subprocess.Popen(command, stdin=PIPE, stdout=PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "True\n"
    return process


def kill(process: subprocess.Popen[str]) -> None:
    process.send_signal(signal.SIGKILL)
    process.communicate()


def test_one_holder_at_a_time(tmp_path: Path) -> None:
    assert holder_of(tmp_path) is None
    with hold(tmp_path) as ours:
        assert ours is not None
        assert ours.is_ours
        with hold(tmp_path) as other:
            assert other is None
        holder = holder_of(tmp_path)
        assert holder is not None
        assert (holder.process, holder.is_lost) == (os.getpid(), False)
    assert holder_of(tmp_path) is None
    assert not list(tmp_path.iterdir())


def test_a_dead_process_of_this_machine_is_followed_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    process = elsewhere(tmp_path)
    with hold(tmp_path) as other:
        assert other is None
    kill(process)
    holder = holder_of(tmp_path)
    assert holder is not None
    assert (holder.process, holder.is_lost) == (process.pid, True)
    monkeypatch.setattr(held, "LEASE_SECONDS", 1.0)
    began = time.monotonic()
    with hold(tmp_path) as ours:
        assert ours is not None
    assert time.monotonic() - began < 0.9, "it does not wait for the lease to run out"


def test_another_machine_is_followed_once_its_lease_stands_still(tmp_path: Path) -> None:
    process = elsewhere(tmp_path, "another-machine")
    holder = holder_of(tmp_path)
    assert holder is not None
    assert (holder.machine, holder.is_lost) == ("another-machine", False)
    time.sleep(1.2)  # longer than a lease: it beats
    with hold(tmp_path) as other:
        assert other is None
    kill(process)
    with hold(tmp_path) as other:  # nobody can know yet
        assert other is None
    time.sleep(1.1)
    lost = holder_of(tmp_path)
    assert lost is not None
    assert lost.is_lost
    with hold(tmp_path) as ours:
        assert ours is not None


def test_a_clock_that_jumps_takes_nobodys_lease(tmp_path: Path) -> None:
    process = elsewhere(tmp_path, "another-machine")
    for jump in (-1000, 1000):
        then = time.time() + jump
        os.utime(tmp_path / LEASE, (then, then))
        with hold(tmp_path) as other:  # where it looks lost, it is watched, and seen to live
            assert other is None
    kill(process)


def test_who_was_frozen_and_followed_sees_it_before_it_writes(tmp_path: Path) -> None:
    with hold(tmp_path) as ours:
        assert ours is not None
        (tmp_path / LEASE).unlink()
        process = elsewhere(tmp_path, "another-machine")
        time.sleep(0.3)
        assert not ours.is_ours
        kill(process)


def test_a_deleted_folder_ends_the_lease_quietly(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    folder.mkdir()
    with hold(folder):
        shutil.rmtree(folder)
    assert not folder.exists()


@pytest.mark.parametrize("written", ["", "torn\n", "filelock/2\npid=1\n"])
def test_what_was_torn_by_a_crash_is_followed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, written: str
) -> None:
    monkeypatch.setattr(held, "LEASE_SECONDS", 2.0)
    (tmp_path / LEASE).write_text(written)
    then = time.time() - 1000
    os.utime(tmp_path / LEASE, (then, then))
    with hold(tmp_path) as ours:
        assert ours is not None


def test_ones_turn_comes_whatever_the_one_before_left(tmp_path: Path) -> None:
    for written in ("", "filelock/2\npid=1\n"):
        (tmp_path / LEASE).write_text(written)
        with held.turn(tmp_path):
            assert holder_of(tmp_path) is not None


def test_of_many_that_follow_a_lost_one_exactly_one_does(tmp_path: Path) -> None:
    kill(elsewhere(tmp_path))
    at_work, most = [0], [0]

    def work(_: int) -> bool:
        with hold(tmp_path) as ours:
            if ours is None:
                return False
            at_work[0] += 1
            most[0] = max(most[0], at_work[0])
            time.sleep(0.05)
            at_work[0] -= 1
            return True

    with ThreadPoolExecutor(16) as pool:
        assert any(pool.map(work, range(16)))
    assert most == [1]
