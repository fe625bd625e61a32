"""Reports whose figures nobody looks at: drawing takes most of the time of a command."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from unittest.mock import patch

from pgsbench.reporting import figures
from pgsbench.reporting.style import new_figure
from pgsbench.session import study


@contextmanager
def unseen_figures() -> Iterator[None]:
    """Let the figures of reports be empty, and single runs have none."""
    empty = {name: lambda _: new_figure(1.0) for name in figures.ALL}
    with patch.dict(figures.ALL, empty), patch.object(study, "draw_missing", lambda _: None):
        yield
