"""``pgsbench ui``: MLflow's own server, started small, and the page of a study."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import urllib.request
import webbrowser
from collections.abc import Callable
from contextlib import suppress

from pgsbench.errors import RunError, without_password
from pgsbench.tracking.mlflow_store import Store, client_of, database_path, resolve_uri
from pgsbench.tracking.mlflow_text import WORKFLOW

STUDIES_SHOWN = 8


def server_command(port: int) -> list[str]:
    """Return the command line of a server for this machine alone."""
    small = ["--workers", "1", "--uvicorn-opts", "--log-level warning"]
    return [sys.executable, "-m", "mlflow", "server", "--port", str(port), *small]


def server_environment(uri: str) -> dict[str, str]:
    """Return the environment variables of a server: few processes and words, and the store `uri`.

    The store is named here, since everybody on the machine can read command lines, and its name may hold a
    password.
    """
    small = {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "MLFLOW_DISABLE_TELEMETRY": "true"}
    return {**small, "PYTHONWARNINGS": "ignore", **os.environ, "MLFLOW_BACKEND_STORE_URI": uri}


def serve(
    study: str | None = None,
    *,
    port: int = 5000,
    tracking_uri: str | None = None,
    say: Callable[[str], None] = print,
) -> None:
    """Start MLflow's server on what was tracked, open a study's page, and stay until Ctrl-C.

    Args:
        study: The study; None: the latest.
        port: Port to listen on.
        tracking_uri: The store to show; see `resolve_uri`. Of a server's, the page is only opened.
        say: Takes the lines for the user.

    Raises:
        RunError: The server does not start, or there is no such study.
    """
    uri, address = resolve_uri(tracking_uri), f"http://localhost:{port}"
    if is_remote := uri.startswith(("http://", "https://")):
        address = without_password(uri)
    pages = _pages(uri, address, study)
    lines = [f"  {name}: {page}" for name, page in pages.items()]
    lines = lines or ["nothing is tracked there yet: `pgsbench sync` feeds it from runs/"]
    page = next(iter(pages.values()), address)
    if is_remote:
        say("\n".join([f"MLflow runs at {address}", *lines]))
        _open(page)
        return
    say("starting MLflow (about 10 seconds) ...")
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # a plain `kill` must end the server, too
    with subprocess.Popen(server_command(port), env=server_environment(uri)) as process:
        try:
            _wait_until_up(f"{address}/health", process)
            say("\n".join([f"MLflow is at {address} (Ctrl-C ends it)", *lines]))
            _open(page)
            process.wait()
        except KeyboardInterrupt:
            say("stopped")
        finally:
            process.terminate()


def _pages(uri: str, address: str, study: str | None) -> dict[str, str]:
    """Return the pages of the latest studies by name, or that of one alone."""
    database, found = database_path(uri), []
    with suppress(Exception):
        if database is None or database.is_file():  # MLflow would make an empty one
            client = client_of(uri)
            where = [client.get_experiment_by_name(Store(uri).experiment).experiment_id]
            wanted = "tags.kind = 'study'" + (f" and tags.study = '{study}'" if study else "")
            order = ["start_time DESC"]
            found = client.search_runs(where, wanted, max_results=STUDIES_SHOWN, order_by=order)
    if study and not found:
        rule, way_out = "no such study is tracked", f"`pgsbench sync {study}` feeds it from runs/"
        raise RunError(rule, value=study, way_out=way_out)
    return {
        info.run_name: f"{address}/#/experiments/{info.experiment_id}/runs/{info.run_id}?{WORKFLOW}"
        for info in (run.info for run in found)
    }


def _open(page: str) -> None:
    """Show a page, where there is a screen: a browser of text would take the terminal."""
    has_screen = sys.platform in ("darwin", "win32") or {"DISPLAY", "WAYLAND_DISPLAY"} & os.environ.keys()
    if has_screen and sys.stdout.isatty():
        webbrowser.open(page)


def _wait_until_up(health: str, process: subprocess.Popen[bytes], *, wait_seconds: float = 120.0) -> None:
    until = time.monotonic() + wait_seconds
    while time.monotonic() < until and process.poll() is None:
        with suppress(OSError):
            urllib.request.urlopen(health, timeout=2).close()
            # Where the port was taken, another server answers and ours has ended.
            time.sleep(0.3)
            if process.poll() is None:
                return
        time.sleep(0.3)
    raise RunError("MLflow's server did not start; its own message is above", way_out="try another --port")
