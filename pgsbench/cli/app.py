"""The tree of commands."""

from __future__ import annotations

from typing import Annotated

import typer

from pgsbench.cli import data, masks, measure, past, studies, study_group
from pgsbench.cli.commands import group, option

app = group(
    "Which patches may CLIP not see? Train, sweep, evaluate and compare patch-masking strategies.",
    name="pgsbench",
    epilog="First steps: pgsbench compare --study quick --baselines flip",
    context_settings={"max_content_width": 100},
    pretty_exceptions_enable=False,
)

for _part in (studies, measure, past):
    app.registered_commands += _part.app.registered_commands
for _group in (masks.app, data.app, study_group.app, past.runs):
    app.add_typer(_group)


@app.callback(invoke_without_command=True)
def _version(version: Annotated[bool, option("Print the version and exit.", "--version")] = False) -> None:
    if version:
        from pgsbench import __version__

        typer.echo(f"pgsbench {__version__}")
        raise typer.Exit
