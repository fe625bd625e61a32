"""Tests that make blocks small must not leave orders of pairs to others."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from pgsbench.data import order


@pytest.fixture(autouse=True)
def no_remembered_orders() -> Iterator[None]:
    forget()
    yield
    forget()


def forget() -> None:
    order._blocks.cache_clear()
    order._block.cache_clear()
