"""Reports without figures: drawing takes most of the time of a command, and few tests look at them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

from pgsbench.reporting import figures


@contextmanager
def no_figures(**drawn: Callable[[Any], Any]) -> Iterator[None]:
    """Let reports have the figures alone that are named here, and single runs none."""
    with patch.object(figures, "ALL", drawn), patch.object(figures, "draw_masks", lambda _: None):
        yield
