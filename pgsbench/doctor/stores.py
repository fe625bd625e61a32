"""Stores, network, plugins: does what lies outside answer?"""

from __future__ import annotations

import os
import shutil
import socket
import threading
from collections.abc import Iterator
from importlib.util import find_spec
from urllib.parse import urlsplit

from pgsbench.data.fetch import is_offline
from pgsbench.doctor.machine import PROBLEM, WARNING, Check
from pgsbench.errors import ConfigError, PluginError
from pgsbench.evaluation.protocols import PROTOCOLS
from pgsbench.execution.slurm import cluster_file, read_profile
from pgsbench.masking import STRATEGIES
from pgsbench.masking.text import TEXT_STRATEGIES
from pgsbench.tracking.mlflow_store import PORTS, database_path, resolve_uri

#: How long a server or the network may take to answer.
PATIENCE_SECONDS = 1.0


def stores() -> Iterator[Check]:
    """Yield whether MLflow can keep its record."""
    try:
        uri = resolve_uri()
    except ValueError as error:
        yield Check("MLflow", str(error), PROBLEM, "mend or unset MLFLOW_TRACKING_URI")
    else:
        yield _store(uri)


def cluster() -> Iterator[Check]:
    """Yield whether jobs can be submitted, where a file says what they ask for."""
    if not (path := cluster_file()).is_file():
        return
    try:
        read_profile()
    except ConfigError as error:
        yield Check("SLURM", str(error), PROBLEM, f"mend {path}")
        return
    if find_spec("submitit") is None:
        yield Check(
            "SLURM", "submitit is not installed", PROBLEM, "in a clone of pgsbench: pip install '.[slurm]'"
        )
    elif absent := [name for name in ("sbatch", "squeue", "scancel") if shutil.which(name) is None]:
        yield Check("SLURM", f"{path}, but no {', '.join(absent)} here", PROBLEM, "submit from a login node")
    else:
        yield Check("SLURM", f"profiles in {path}")


def _store(uri: str) -> Check:
    what = "MLflow"
    parts = urlsplit(uri)
    shown = f"{parts.scheme}://{parts.hostname or ''}{parts.path}"  # without user and password
    driver = parts.scheme.partition("+")[2]
    if driver and not parts.scheme.startswith("sqlite") and find_spec(driver) is None:
        return Check(
            what, f"{shown}: the driver is not installed", PROBLEM, f"pip install '{driver}[binary]'"
        )
    if parts.scheme == "postgresql" and find_spec("psycopg2") is None:
        remedy = "write postgresql+psycopg://... and pip install 'psycopg[binary]'"
        return Check(what, f"{shown}: its default driver psycopg2 is not installed", PROBLEM, remedy)
    if (file := database_path(uri)) is not None:
        if not file.exists():
            return Check(what, f"{file} (not made yet)")
        with file.open("rb") as content:
            if content.read(15) not in (b"SQLite format 3", b""):
                return Check(what, f"{file} is no SQLite file", PROBLEM, "move it away; a new one is made")
        if not os.access(file, os.W_OK):
            return Check(what, f"{file} cannot be written", PROBLEM, f"chmod u+w {file}")
        return Check(what, str(file))
    if parts.hostname is None:
        return Check(what, shown)
    try:
        port = parts.port or PORTS.get(parts.scheme.partition("+")[0], 0)
        _reach(parts.hostname, port)
    except (OSError, ValueError) as error:
        return Check(
            what, f"{shown} does not answer ({error})", PROBLEM, "start it, or change MLFLOW_TRACKING_URI"
        )
    return Check(what, f"{shown} answers")


def network() -> Iterator[Check]:
    """Yield whether public data and published weights can be fetched."""
    if is_offline():
        remedy = "unset HF_HUB_OFFLINE to fetch public data and published weights"
        yield Check("network", "HF_HUB_OFFLINE is set: nothing is fetched", WARNING, remedy)
    else:
        try:
            _reach("huggingface.co", 443)
            yield Check("network", "huggingface.co answers")
        except OSError:
            remedy = "what is generated works; export HF_HUB_OFFLINE=1, so that nothing waits for the network"
            yield Check("network", "huggingface.co does not answer", WARNING, remedy)


def plugins() -> Iterator[Check]:
    """Yield the installed strategies and protocols that cannot be used."""
    for registry in (STRATEGIES, TEXT_STRATEGIES, PROTOCOLS):
        for name in registry.entry_points():
            try:
                registry.load(name)
            except PluginError as error:
                yield Check(f"installed {registry.kind} {name}", error.rule, WARNING, error.way_out)


def _reach(host: str, port: int) -> None:
    """Open a connection and close it again; looking a name up has no time limit of its own."""
    failed: list[OSError] = [TimeoutError("no answer")]

    def connect() -> None:
        try:
            socket.create_connection((host, port), timeout=PATIENCE_SECONDS).close()
            failed.clear()
        except OSError as error:
            failed[:] = [error]

    thread = threading.Thread(target=connect, daemon=True)
    thread.start()
    thread.join(2 * PATIENCE_SECONDS)
    if failed:
        raise failed[0]
