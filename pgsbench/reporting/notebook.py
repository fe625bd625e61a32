"""What a notebook shows of a result: its words, tables and figures, as the report has them."""

from __future__ import annotations

import base64
from collections.abc import Iterable
from html import escape
from pathlib import Path
from typing import TypeAlias

import pandas as pd
from matplotlib.figure import Figure

from pgsbench.reporting.render import Table
from pgsbench.reporting.style import svg

#: Sentences, a table, a figure or the PNG file of one; None: nothing.
Part: TypeAlias = str | Table | Figure | Path | None


class InNotebook:
    """A result that a notebook shows when a cell ends with it."""

    def in_notebook(self) -> Iterable[Part]:
        """Return what is shown, from top to bottom."""
        raise NotImplementedError

    def _repr_html_(self) -> str:
        return "\n".join(_html(part) for part in self.in_notebook() if part is not None)


def _html(part: str | Table | Figure | Path) -> str:
    if isinstance(part, str):
        return "".join(f"<p>{escape(line)}</p>" for line in part.splitlines())
    if isinstance(part, Table):
        frame = pd.DataFrame(part.cells(short=True), columns=part.names)
        notes = escape(" ".join(part.notes))
        return f"<p><b>{escape(part.title)}</b></p>{frame.to_html(index=False, border=0)}<p>{notes}</p>"
    kind, data = ("png", part.read_bytes()) if isinstance(part, Path) else ("svg+xml", svg(part).encode())
    return f'<p><img src="data:image/{kind};base64,{base64.b64encode(data).decode()}"></p>'
