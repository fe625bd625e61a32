"""``pgsbench ui``."""

from __future__ import annotations

from typing import Annotated

import typer


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
