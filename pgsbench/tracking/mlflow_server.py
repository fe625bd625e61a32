"""The server behind ``pgsbench ui``: MLflow's own, started small, reachable, and with its links printed."""

from __future__ import annotations

import errno
import getpass
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from pgsbench.errors import RunError, without_password
from pgsbench.tracking.mlflow_store import Store, database_path, resolve_uri
from pgsbench.tracking.mlflow_views import runs_path, study_path

#: Hosts that the server answers to in any case; naming others replaces MLflow's own list.
LOCAL_HOSTS = ("localhost", "127.0.0.1", "[::1]", "10.*", "192.168.*", *(f"172.{i}.*" for i in range(16, 32)))
#: Two processes instead of ten (no job runner), no telemetry, no deprecations among its own parts.
ENVIRONMENT = {
    "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "PYTHONWARNINGS": "ignore",
}
#: Hosts that mean every address of this machine.
EVERYWHERE = ("0.0.0.0", "::")
STUDIES_SHOWN = 8


@dataclass(frozen=True)
class Server:
    """An MLflow server to be started.

    Attributes:
        uri: The store that it shows.
        host: Address to listen on.
        port: Port to listen on.
    """

    uri: str
    host: str = "127.0.0.1"
    port: int = 5000

    @property
    def is_local(self) -> bool:
        """Whether only this machine can reach it."""
        return self.host in ("127.0.0.1", "localhost", "::1")

    @property
    def address(self) -> str:
        """Where a browser finds it."""
        return f"http://{'localhost' if self.is_local else socket.gethostname()}:{self.port}"

    def environment(self) -> dict[str, str]:
        """Return the environment variables that it is started with.

        The store is named here, since everybody on the machine can read command lines, and its name may hold
        a password.
        """
        return {**ENVIRONMENT, **os.environ, "MLFLOW_BACKEND_STORE_URI": self.uri}

    def command(self) -> list[str]:
        """Return the command line that starts it."""
        command = [sys.executable, "-m", "mlflow", "server"]
        command += ["--host", self.host, "--port", str(self.port), "--workers", "1"]
        command += ["--uvicorn-opts", "--log-level warning"]
        if not self.is_local and "MLFLOW_SERVER_ALLOWED_HOSTS" not in os.environ:
            names = [socket.gethostname(), socket.getfqdn()]
            hosts = _with_port([*LOCAL_HOSTS, *names], self.port)
            # A page's own requests carry its address as origin, which is checked separately.
            origins = [
                f"{scheme}://{host}" for scheme in ("http", "https") for host in _with_port(names, self.port)
            ]
            command += ["--allowed-hosts", ",".join(hosts), "--cors-allowed-origins", ",".join(origins)]
        return command


def serve(
    *,
    host: str = "127.0.0.1",
    port: int = 5000,
    tracking_uri: str | None = None,
    say: Callable[[str], None] = print,
) -> None:
    """Start MLflow's server on what was tracked, say where it is, and stay until Ctrl-C.

    Args:
        host: Address to listen on; ``0.0.0.0`` lets other machines in.
        port: Port to listen on.
        tracking_uri: The store to show; see `resolve_uri`. A server's address is only printed.
        say: Takes the lines for the user.

    Raises:
        RunError: There is no such port or host, the port is taken, or the server does not start.
    """
    uri = resolve_uri(tracking_uri)
    if uri.startswith(("http://", "https://")):
        say(f"MLflow runs at {without_password(uri)}")
        return
    server = Server(uri, host, port)
    _require_free(server)
    links = _links(uri)
    if not links:
        say(f"nothing is tracked in {without_password(uri)} yet: `pgsbench sync` feeds it from runs/")
    if not server.is_local:
        say(
            f"warning: MLflow listens on {host} and asks for no password: anyone who can reach this machine "
            "can read, change and delete these runs"
        )
    say("starting MLflow (about 10 seconds) ...")
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # a plain `kill` must end the server, too
    with subprocess.Popen(server.command(), env=server.environment()) as process:
        try:
            _wait_until_up(server, process)
            say(f"MLflow is at {server.address} (Ctrl-C ends it)")
            for name, path in links:
                say(f"  {name}: {server.address}/{path}")
            if server.is_local:
                here = f"{getpass.getuser()}@{socket.gethostname()}"
                say(f"from another machine: ssh -N -L {port}:localhost:{port} {here}, then the same address")
            process.wait()
        except KeyboardInterrupt:
            say("stopped")
        finally:
            process.terminate()


def _with_port(hosts: Iterable[str], port: int) -> list[str]:
    return [spelling for host in hosts for spelling in (host, f"{host}:{port}")]


def _links(uri: str) -> list[tuple[str, str]]:
    """Return links into a store: to the pages of the latest studies, and to arms and runs of the latest.

    Each is what the link shows, and its path on the server.
    """
    database = database_path(uri)
    if database is not None and not database.is_file():
        return []
    links: list[tuple[str, str]] = []
    with suppress(Exception), Store(uri).connect(Path.cwd()) as (client, found):
        query, order = "tags.kind = 'study'", ["attributes.start_time DESC"]
        for run in client.search_runs(
            [found.experiment_id], query, max_results=STUDIES_SHOWN, order_by=order
        ):
            study = run.data.tags.get("study", "")
            links.append((study, study_path(found.experiment_id, run.info.run_id)))
            if len(links) == 1:  # the latest; the page of each leads to its runs, too
                links.append((f"{study}, arms as a table", runs_path(found.experiment_id, study, kind="arm")))
                links.append((f"{study}, runs as a table", runs_path(found.experiment_id, study)))
                links.append((f"{study}, runs as charts", runs_path(found.experiment_id, study, charts=True)))
    return links


def _require_free(server: Server) -> None:
    if not 0 < server.port < 1 << 16:
        raise RunError(
            "a port is a number from 1 to 65535", where="--port", value=server.port, way_out="`--port 5000`"
        )
    family = socket.AF_INET6 if ":" in server.host else socket.AF_INET
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((server.host, server.port))
        except OSError as error:
            if isinstance(error, socket.gaierror) or error.errno == errno.EADDRNOTAVAIL:
                raise RunError(
                    "this is no address of this machine",
                    where="--host",
                    value=server.host,
                    way_out="127.0.0.1 for this machine alone, 0.0.0.0 for all that can reach it",
                ) from error
            other = server.port + 1 if 1024 <= server.port < 65535 else 5000
            raise RunError(
                f"cannot listen here ({error.strerror})",
                where="--port",
                value=server.port,
                way_out=f"`pgsbench ui --port {other}`",
            ) from error


def _wait_until_up(server: Server, process: subprocess.Popen[bytes], *, wait_seconds: float = 120.0) -> None:
    until = time.monotonic() + wait_seconds
    host = "localhost" if server.is_local or server.host in EVERYWHERE else server.host
    while time.monotonic() < until and process.poll() is None:
        with suppress(OSError, urllib.error.URLError):
            urllib.request.urlopen(f"http://{host}:{server.port}/health", timeout=2).close()
            return
        time.sleep(0.3)
    raise RunError("MLflow's server did not start; its own message is above", where=server.uri)
