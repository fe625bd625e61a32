"""The tree of commands, in the order of a user's day."""

from __future__ import annotations

from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from pgsbench.cli import data, masks, measure, past, studies, study_group
from pgsbench.cli.commands import group, option

ABOUT = "Which image patches can CLIP training skip, and is it worth it?"
START = f"""{ABOUT}

To begin with:
  pgsbench doctor                                   what this machine lacks, if anything
  pgsbench study ls                                 studies that ship, each with its question
  pgsbench masks preview quick                      what masks keep of the pictures of one: masks.png
  pgsbench compare --study quick --baselines flip   train it in two minutes: a first answer, and a report

All commands: pgsbench --help"""
#: Headings of the help page, and the commands below each.
DAY = {
    "Before a training": ("doctor", "study", "data", "masks", "plan"),
    "Train and compare": ("compare", "train", "sweep", "scale", "run", "evaluate"),
    "Look at what came of it": ("report", "runs", "ui", "sync", "validity", "publish"),
}


class _Day(TyperGroup):
    def format_commands(self, ctx: Any, formatter: Any) -> None:
        width = max(map(len, self.commands))
        for heading, names in DAY.items():
            with formatter.section(heading):
                found = [(f"{name:<{width}}", self.commands[name].get_short_help_str(200)) for name in names]
                formatter.write_dl(found)


app = group(ABOUT, name="pgsbench", cls=_Day, no_args_is_help=False, pretty_exceptions_enable=False)

for _part in (studies, measure, past):
    app.registered_commands += _part.app.registered_commands
for _group in (masks.app, data.app, study_group.app, past.runs):
    app.add_typer(_group)


@app.callback(invoke_without_command=True)
def _first(
    ctx: typer.Context, version: Annotated[bool, option("Print the version and exit.", "--version")] = False
) -> None:
    if version:
        from pgsbench import __version__

        typer.echo(f"pgsbench {__version__}")
        raise typer.Exit
    if ctx.invoked_subcommand is None:
        typer.echo(START)
