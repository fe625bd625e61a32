"""``pgsbench validity``: does a world order masks as photos do?"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pgsbench import completion
from pgsbench.cli.options import JsonOption, OutputOption, names_in

_STUDY = "a study under runs/, or STUDY:METRIC (default metric: mean)"


def validity(
    reference: Annotated[
        str,
        typer.Argument(help=f"What is believed: {_STUDY}.", autocompletion=completion.studies_run),
    ],
    worlds: Annotated[
        list[str],
        typer.Argument(
            metavar="WORLD...", help=f"What is judged: {_STUDY}.", autocompletion=completion.studies_run
        ),
    ],
    arms: Annotated[str | None, typer.Option(help="Only these arms, joined by commas.")] = None,
    baseline: Annotated[
        str | None, typer.Option(help="Differences are to this arm (default: the random masks).")
    ] = None,
    candidate: Annotated[
        str | None, typer.Option(help="The arm in question (default: the reference's base).")
    ] = None,
    figure: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Draw the differences: .png, .pdf or .svg.")
    ] = None,
    output: OutputOption = Path(),
    json: JsonOption = False,
) -> None:
    """Tell how well studies in other worlds order their arms as a reference does, and where they do not.

    Example: pgsbench validity photos:tiny-imagenet/val/acc1 baselines emoji --figure validity.png
    """
    from pgsbench.archive import validity as judge
    from pgsbench.reporting import render, style

    if figure:
        style.check_ending(figure, "--figure")
    found = judge(
        reference,
        worlds,
        arms=names_in(arms) if arms else None,
        baseline=baseline,
        candidate=candidate,
        output=output,
    )
    render.show(*found.tables, json=json)
    if not json:
        typer.echo(f"\n{found.verdict}")
    if figure:
        typer.echo(f"\nfigure: {style.save(found.figure(), figure)}", err=json)
