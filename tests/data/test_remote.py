"""Shards elsewhere: whatever the library of a protocol raises is told as what it is."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import fsspec
import pytest
from fsspec.implementations.memory import MemoryFileSystem
from tinyworld import TinyWorld

from pgsbench.data import remote
from pgsbench.data.index import index_of, summaries
from pgsbench.errors import DataError


class NoRouteError(Exception):
    """As the libraries of s3 and gs raise them: no `OSError`."""


class Unreachable(MemoryFileSystem):
    """A store that does not answer."""

    protocol = "unreachable"
    cachable = False

    def info(self, path: str, **_: object) -> dict[str, object]:
        raise NoRouteError(f"could not connect to {path}")


def test_a_store_that_does_not_answer_is_a_mistake_of_the_data(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fsspec, "filesystem", lambda _: Unreachable())
    with pytest.raises(DataError, match=r"s3://pairs/7\.tar: .*cannot be read .*could not connect to"):
        index_of("s3://pairs/7.tar")
    with pytest.raises(OSError, match="NoRouteError: could not connect"):
        remote.state("s3://pairs/7.tar")


def test_shards_that_are_remembered_are_asked_after_together(
    tiny: TinyWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = [str(path) for path in sorted(tiny.shards.glob("*.tar"))]
    expected, state = summaries(names), remote.state
    assert len({one.digest for one in expected}) == len(names) == 3
    all_ask = threading.Barrier(3)

    def answered_when_all_ask(shard: str) -> list[Any]:
        all_ask.wait(timeout=20)
        return state(shard)

    monkeypatch.setattr(remote, "state", answered_when_all_ask)
    assert summaries([*names, names[0]]) == [*expected, expected[0]]


def test_of_several_shards_out_of_reach_the_first_is_told(tiny: TinyWorld, tmp_path: Path) -> None:
    there = str(next(tiny.shards.glob("*.tar")))
    missing = [str(tmp_path / f"{number}.tar") for number in range(20)]
    with pytest.raises(DataError, match=r"/0\.tar: a shard cannot be read"):
        summaries([there, *missing])
