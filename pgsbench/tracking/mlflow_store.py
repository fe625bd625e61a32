"""An MLflow store, reached without ever holding up a training, and what can be downloaded from it."""

from __future__ import annotations

import logging
import os
import socket
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from filelock import FileLock, Timeout

from pgsbench.disk.whole_files import atomic
from pgsbench.errors import RunError

#: MLflow's own answer to a silent server is to wait for minutes; a mirror can be fed again later. What the
#: user set stays.
PATIENCE = {
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
}
#: Ports of servers whose address names none.
PORTS = {"http": 80, "https": 443, "postgresql": 5432, "mysql": 3306}
#: How a name begins that means something in a store.
SCHEMES = ("runs:/", "models:/", "mlflow-artifacts:/")
#: MLflow's own default, so that a plain ``mlflow ui`` in the same folder shows the same.
DEFAULT = "sqlite:///mlflow.db"


def resolve_uri(uri: str | None = None) -> str:
    """Return the tracking URI in use: `uri`, else ``MLFLOW_TRACKING_URI``, else `DEFAULT`."""
    chosen = uri or os.environ.get("MLFLOW_TRACKING_URI") or DEFAULT
    database = database_path(chosen)
    if database is None:
        return chosen
    options = "".join(chosen.partition("?")[1:])
    return f"sqlite:///{database}{options}"


def database_path(uri: str) -> Path | None:
    """Return the absolute path of the file behind a ``sqlite:`` URI, or None for any other store."""
    if not uri.startswith("sqlite:///"):
        return None
    return Path(unquote(uri.removeprefix("sqlite:///").partition("?")[0])).absolute()


def client_of(uri: str) -> Any:
    """Return an `MlflowClient` that gives up soon and talks little.

    Raises:
        RunError: The server does not answer.
    """
    _require_answer(uri)
    for name, value in PATIENCE.items():
        os.environ.setdefault(name, value)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # MLflow's own dependencies deprecate each other
        import mlflow
    for name in ("mlflow", "alembic"):
        logging.getLogger(name).setLevel(logging.ERROR)  # a page of migrations at the first use
    return mlflow.MlflowClient(tracking_uri=uri)


@contextmanager
def store_of_process(uri: str) -> Iterator[None]:
    """Let MLflow's functions without a client, such as those of models, use a store for a while."""
    before = os.environ.get("MLFLOW_TRACKING_URI")
    os.environ["MLFLOW_TRACKING_URI"] = uri
    try:
        yield
    finally:
        os.environ.pop("MLFLOW_TRACKING_URI")
        os.environ.update({} if before is None else {"MLFLOW_TRACKING_URI": before})


@dataclass(frozen=True)
class Store:
    """An experiment in an MLflow store.

    Attributes:
        uri: Resolved tracking URI (`resolve_uri`).
        experiment: Name of the experiment, created where it does not exist; default:
            ``MLFLOW_EXPERIMENT_NAME``, else ``pgsbench``.
    """

    uri: str
    experiment: str = field(default_factory=lambda: os.environ.get("MLFLOW_EXPERIMENT_NAME") or "pgsbench")

    @contextmanager
    def connect(self, lock_folder: Path) -> Iterator[tuple[Any, str]]:
        """Give MLflow's client and the id of the experiment, with this process as the only writer.

        A new SQLite store must not be created by two processes at once (both break it), nor may two
        create the same run twice: the block holds a lock beside the database, or in `lock_folder` for
        a server's store.

        Raises:
            RunError: The server does not answer, or another process keeps writing. What MLflow raises itself
                passes through, such as of a deleted experiment or a damaged database.
        """
        database = database_path(self.uri)
        with _only_writer((database or lock_folder / "mlflow").with_suffix(".lock")):
            if database and not database.exists():
                _make(database)
            client = client_of(self.uri)
            found = client.get_experiment_by_name(self.experiment)
            if found is None:
                # By default artifacts land in ./mlruns of whichever folder the process runs in.
                folder = (database.parent / "mlruns" / self.experiment).as_uri() if database else None
                yield client, client.create_experiment(self.experiment, artifact_location=folder)
            else:
                yield client, str(found.experiment_id)


def _make(database: Path) -> None:
    """Make a database with its tables, whole or not at all: a kill meanwhile would leave one to no use."""
    with atomic(database) as scratch:
        client_of(f"sqlite:///{scratch}").search_experiments()


@contextmanager
def _only_writer(path: Path, *, wait_seconds: float = 20.0) -> Iterator[None]:
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(path.with_name(f".{path.name}"), timeout=wait_seconds):
            yield
    except Timeout as error:
        raise RunError("another process is feeding MLflow", where=str(path.parent)) from error


def _require_answer(uri: str, *, wait_seconds: float = 3.0) -> None:
    """Ask for a connection first: MLflow's own retries take far longer to find that nobody is there."""
    address = urlsplit(uri)
    port = address.port or PORTS.get(address.scheme.partition("+")[0])
    if not address.hostname or port is None:
        return
    try:
        socket.create_connection((address.hostname, port), timeout=wait_seconds).close()
    except OSError as error:
        raise RunError(f"the MLflow server does not answer ({error})", where=uri) from error


def is_artifact(source: str) -> bool:
    """Tell whether a name is a URI of something in MLflow."""
    return source.startswith(SCHEMES)


def download(uri: str, folder: Path) -> Path:
    """Download an artifact into `folder` and return its path there, of a model that of its checkpoint.

    Args:
        uri: ``runs:/RUN_ID/path``, ``models:/NAME/VERSION``, ``models:/MODEL_ID``.
        folder: Where to.

    Raises:
        RunError: The store does not answer, or there is no such artifact.
    """
    with _asked(uri) as client, store_of_process(client.tracking_uri):
        import mlflow

        found = Path(mlflow.artifacts.download_artifacts(uri, dst_path=str(folder)))
    checkpoint = found / "data" / "model"  # where the model of a study has it (`mlflow_verdict`)
    return checkpoint if checkpoint.is_dir() else found


@contextmanager
def _asked(value: str) -> Iterator[Any]:
    """Give a client of a store that exists; what the store refuses becomes the user's mistake."""
    store = resolve_uri()
    database = database_path(store)
    if database and not database.is_file():  # MLflow would make an empty one
        raise RunError(
            "there is no MLflow store here", where=str(database), way_out="MLFLOW_TRACKING_URI names another"
        )
    try:
        yield client_of(store)
    except RunError:
        raise
    except Exception as error:  # MLflow's stores raise what their libraries raise
        raise RunError(
            f"MLflow refuses: {type(error).__name__}: {str(error).strip()[:200]}",
            where=store,
            value=value,
            way_out="MLFLOW_TRACKING_URI names the store; `pgsbench ui` shows what is there",
        ) from error
