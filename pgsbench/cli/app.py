"""The tree of commands."""

from __future__ import annotations

from typing import Annotated

import typer

from pgsbench.cli import bench, calibrate, data, evaluate, masks, studies, study, ui

app = typer.Typer(
    name="pgsbench",
    help="Which patches may CLIP not see? Train, sweep, evaluate and compare patch-masking strategies.",
    no_args_is_help=True,
    rich_markup_mode=None,  # plain help starts in half the time
    pretty_exceptions_enable=False,
    add_completion=False,
    epilog="First steps: pgsbench sweep studies/ratio.yaml --dry-run",
)


@app.callback(invoke_without_command=True)
def _version(
    version: Annotated[bool, typer.Option("--version", help="Print the version and exit.")] = False,
) -> None:
    if version:
        from pgsbench import __version__

        typer.echo(f"pgsbench {__version__}")
        raise typer.Exit


app.command()(studies.sweep)
app.command()(studies.compare)
app.command()(studies.train)
app.command()(evaluate.evaluate)
app.command()(calibrate.calibrate)
app.command()(studies.report)
app.command()(studies.sync)
app.add_typer(masks.app, name="masks")
app.add_typer(bench.app, name="bench")
app.add_typer(data.app, name="data")
app.add_typer(study.app, name="study")
app.command()(ui.ui)
