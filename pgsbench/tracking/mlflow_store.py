"""An MLflow store, reached without ever holding up a training, and one run in it: what it has been sent."""

from __future__ import annotations

import json
import logging
import os
import socket
import time
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar
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
#: What the page offers for an experiment: training runs first, not traces of language models.
KIND = {"mlflow.experimentKind": "custom_model_development"}
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
                yield client, client.create_experiment(self.experiment, artifact_location=folder, tags=KIND)
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


#: Tag in which a run of the store says what it has been sent; the page hides tags that begin with mlflow.
SENT = "mlflow.pgsbench.sent"
Item = TypeVar("Item")

#: MLflow's limits of one request.
METRICS_A_REQUEST, NAMES_A_REQUEST = 1000, 100


class MlflowRun:
    """A run in MLflow; tags, params, single values and the status are sent only where they differ there.

    Args:
        client: MLflow client of the store.
        run: The run as the store returned it.

    Attributes:
        sent: What the store says that it has: its owner's notes, which `save` writes.
    """

    def __init__(self, client: Any, run: Any) -> None:
        self.client, self.run, self.id = client, run, str(run.info.run_id)
        self.sent: dict[str, Any] = json.loads(self.tag(SENT) or "{}")

    @classmethod
    def create(
        cls, client: Any, experiment: str, name: str, tags: Mapping[str, str], start_ms: int
    ) -> MlflowRun:
        """Create a run that has been sent nothing yet."""
        run = client.create_run(experiment, run_name=name, start_time=start_ms, tags={**tags, SENT: "{}"})
        return cls(client, run)

    def tag(self, name: str) -> str:
        """Return a tag; empty where there is none."""
        return str(self.run.data.tags.get(name, ""))

    def save(self, **sent: object) -> None:
        """Let the store know what it has been sent."""
        self.sent |= sent
        self.tags({SENT: json.dumps(self.sent, sort_keys=True)})

    def tags(self, tags: Mapping[str, str]) -> None:
        """Set the tags that are new or changed."""
        from mlflow.entities import RunTag

        new = {key: value for key, value in tags.items() if self.tag(key) != value}
        if new:
            self.client.log_batch(self.id, tags=[RunTag(key, value) for key, value in new.items()])
        self.run.data.tags.update(new)

    def params(self, params: Mapping[str, str]) -> None:
        """Log the params that are new; MLflow lets none change."""
        from mlflow.entities import Param

        new = [Param(key, value) for key, value in params.items() if key not in self.run.data.params]
        for part in _parts(new, NAMES_A_REQUEST):
            self.client.log_batch(self.id, params=part)

    def points(self, points: Sequence[tuple[str, float, int, int]]) -> None:
        """Log metric values ``(name, value, time in ms, step)``.

        Points that are there already are dropped by the store, so a repeated call does no harm.
        """
        from mlflow.entities import Metric

        for part in _parts([Metric(*point) for point in points], METRICS_A_REQUEST):
            self.client.log_batch(self.id, metrics=part)

    def values(self, metrics: Mapping[str, float]) -> None:
        """Log the single values that are new or changed; at step 0, as only then the page draws bars."""
        there, now = self.run.data.metrics, int(1000 * time.time())
        self.points([(name, value, now, 0) for name, value in metrics.items() if there.get(name) != value])

    def files(self, folder: Path, paths: Iterable[Path], to: str = "") -> None:
        """Upload files of a folder, those in folders below it to the same ones among the artifacts.

        Args:
            folder: The folder.
            paths: The files.
            to: Where among the artifacts the folder is.
        """
        for path in sorted(paths):
            below = (Path(to) / path.relative_to(folder)).parent.as_posix()
            self.client.log_artifact(self.id, str(path), None if below == "." else below)

    def dataset(self, name: str, digest: str, source: str) -> None:
        """Name the training data as an input."""
        from mlflow.entities import Dataset, DatasetInput, InputTag

        data = Dataset(name[:500], digest[:36], source_type="local", source=json.dumps({"uri": source}))
        context = InputTag("mlflow.data.context", "training")
        self.client.log_inputs(self.id, datasets=[DatasetInput(data, tags=[context])])

    def status(self, status: str, end_ms: int) -> None:
        """Set the run's status: ``RUNNING``, ``FINISHED`` or ``KILLED``."""
        if self.run.info.status == status:
            return
        if status == "RUNNING":
            self.client.update_run(self.id, status=status)
        else:
            self.client.set_terminated(self.id, status, end_time=end_ms)


def _parts(items: Sequence[Item], size: int) -> Iterator[Sequence[Item]]:
    return (items[start : start + size] for start in range(0, len(items), size))
