"""What the scripts of `benchmarks` and `research` share: how they start, and how they print."""

from __future__ import annotations

import sys
from collections.abc import Callable

import pandas as pd
import typer

from pgsbench.errors import UserError


def start(main: Callable[..., object]) -> None:
    """Run a script with the arguments of the command line; a user's mistake exits with 2."""
    try:
        typer.run(main)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)


def show(title: str, table: pd.DataFrame, *notes: str) -> None:
    """Print a table with a title above and notes below."""
    print(f"\n{title}\n\n{table.to_string(index=False)}\n")
    for note in notes:
        print(note)
