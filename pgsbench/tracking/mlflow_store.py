"""Where MLflow keeps its things, and how to reach it without ever holding up a training run."""

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

from pgsbench.disk.databases import damage, lock_path, prepare
from pgsbench.errors import RunError

#: MLflow's own answer to a silent server is to wait for minutes; a mirror can be fed again later.
PATIENCE = {
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
}

#: What the page offers for an experiment: training runs first, not traces of language models.
KIND = {"mlflow.experimentKind": "custom_model_development"}

#: MLflow's own default, so that a plain ``mlflow ui`` in the same folder shows the same.
DEFAULT = "sqlite:///mlflow.db"
#: Tables that have rows as soon as MLflow has made all of them.
FILLED = ("experiments", "alembic_version")

#: SQLite files that MLflow holds open in this process, by inode: it never notices when one is replaced.
_opened: dict[Path, int] = {}


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


def _experiment() -> str:
    return os.environ.get("MLFLOW_EXPERIMENT_NAME") or "pgsbench"


@dataclass(frozen=True)
class Store:
    """An experiment in an MLflow store.

    Attributes:
        uri: Resolved tracking URI (`resolve_uri`).
        experiment: Name of the experiment, created where it does not exist; default:
            ``MLFLOW_EXPERIMENT_NAME``, else ``pgsbench``.
    """

    uri: str
    experiment: str = field(default_factory=_experiment)

    @contextmanager
    def connect(self, lock_folder: Path) -> Iterator[tuple[Any, Any]]:
        """Give MLflow's ``(client, experiment)``, with this process as the only writer.

        A new SQLite store must not be created by two processes at once (both break it), nor may two
        create the same run twice: the block holds a lock beside the database, or in `lock_folder` for
        a server's store.

        Raises:
            RunError: The server does not answer, another process keeps writing, the experiment or the
                database was deleted. What MLflow raises itself passes through.
        """
        require_answer(self.uri)
        database = database_path(self.uri)
        with _only_writer(lock_path(database or lock_folder / "mlflow")), patience():
            import mlflow

            if database:
                _require_same(database)
                _prepare(database)
            client = mlflow.MlflowClient(tracking_uri=self.uri)
            if database:
                _opened[database] = _inode(database)
            yield client, self._experiment(client, database)

    def _experiment(self, client: Any, database: Path | None) -> Any:
        found = client.get_experiment_by_name(self.experiment)
        if found is None:
            # By default artifacts land in ./mlruns of whichever folder the process runs in.
            folder = (database.parent / "mlruns" / self.experiment).as_uri() if database else None
            created = client.create_experiment(self.experiment, artifact_location=folder, tags=KIND)
            return client.get_experiment(created)
        if found.lifecycle_stage != "active":
            raise RunError(
                "this MLflow experiment was deleted",
                where=self.uri,
                value=self.experiment,
                way_out=f"`mlflow experiments restore --experiment-id {found.experiment_id}`",
            )
        return found


def _inode(path: Path) -> int:
    return path.stat().st_ino if path.is_file() else 0


@contextmanager
def patience() -> Iterator[None]:
    """Make MLflow give up soon (except where the user decided otherwise) and talk little."""
    ours = {key: value for key, value in PATIENCE.items() if key not in os.environ}
    os.environ.update(ours)
    try:
        import mlflow  # noqa: F401  (reads the setting of telemetry and sets the levels of its loggers)

        loggers = {name: logging.getLogger(name).level for name in ("mlflow", "alembic")}
        for name in loggers:
            logging.getLogger(name).setLevel(logging.ERROR)  # a page of migrations at the first use
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # MLflow's own dependencies deprecate each other
            yield
        for name, level in loggers.items():
            logging.getLogger(name).setLevel(level)
    finally:
        for key in ours:
            os.environ.pop(key, None)


def _require_same(database: Path) -> None:
    if _opened.get(database, _inode(database)) != _inode(database):
        # Writing on would go into the deleted file, without an error and without a trace.
        raise RunError(
            "the MLflow database was deleted or replaced while in use",
            where=str(database),
            way_out="`pgsbench sync` fills a new one from the run directories",
        )


def _prepare(database: Path) -> None:
    """Make the database where there is none; move a damaged one aside if it is the default one.

    A database that the user named is the user's, whatever is in it.

    Raises:
        RunError: The database that the user named is damaged.
    """
    is_default = database == database_path(DEFAULT)
    if database.is_file() and not is_default and (problem := damage(database, filled=())):
        raise RunError(
            f"this MLflow database is damaged ({problem})",
            where=str(database),
            way_out="name another in MLFLOW_TRACKING_URI; `pgsbench sync` fills it from the run directories",
        )
    prepare(database, filled=FILLED if is_default else (), make=_make_tables)


def _make_tables(url: str) -> None:
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

    database = database_path(url)
    assert database is not None
    SqlAlchemyStore(url, (database.parent / "mlruns").as_uri()).engine.dispose()


@contextmanager
def _only_writer(path: Path, *, wait_seconds: float = 20.0) -> Iterator[None]:
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(path)
    try:
        lock.acquire(timeout=wait_seconds)
    except Timeout as error:
        raise RunError(
            "another process is feeding MLflow", where=str(path), way_out="wait for it, then `pgsbench sync`"
        ) from error
    try:
        yield
    finally:
        lock.release()


def require_answer(uri: str, *, wait_seconds: float = 3.0) -> None:
    """Ask for a connection first: MLflow's own retries take far longer to find that nobody is there."""
    address = urlsplit(uri)
    if address.scheme not in ("http", "https") or not address.hostname:
        return
    port = address.port or (443 if address.scheme == "https" else 80)
    try:
        socket.create_connection((address.hostname, port), timeout=wait_seconds).close()
    except OSError as error:
        raise RunError(f"the MLflow server does not answer ({error})", where=uri) from error
