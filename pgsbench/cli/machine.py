"""``pgsbench doctor`` and ``ui``: what is in order on this machine, and what was tracked on it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pgsbench.cli.options import JsonOption, OutputOption


def doctor(output: OutputOption = Path(), json: JsonOption = False) -> None:
    """Look for what will go wrong on this machine, and say what to do; exits with 1 where something will.

    Example: pgsbench doctor
    """
    from pgsbench.doctor import checks, checks_table
    from pgsbench.doctor.check import PROBLEM
    from pgsbench.reporting import render

    found = list(checks(output))
    render.show(checks_table(found), json=json)
    raise typer.Exit(any(one.state == PROBLEM for one in found))


def ui(
    port: Annotated[int, typer.Option(help="Port of the server.")] = 5000,
    host: Annotated[
        str, typer.Option(help="Address to listen on; 0.0.0.0 lets other machines in.")
    ] = "127.0.0.1",
) -> None:
    """Open MLflow's web pages on what was tracked here, or on MLFLOW_TRACKING_URI.

    Example: pgsbench ui --port 5000
    """
    from pgsbench.tracking.mlflow_server import serve

    serve(host=host, port=port)
