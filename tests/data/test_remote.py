"""Shards elsewhere: whatever the library of a protocol raises is told as what it is."""

from __future__ import annotations

import fsspec
import pytest
from fsspec.implementations.memory import MemoryFileSystem

from pgsbench.data import remote
from pgsbench.data.index import index_of
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
