"""What an evaluation wants of MLflow: models out of a store, and scores into one of its runs."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pgsbench.errors import RunError
from pgsbench.tracking import mlflow_text
from pgsbench.tracking.mlflow_store import client_of, database_path, resolve_uri, store_of_process
from pgsbench.tracking.rundir import RunDir

SCHEMES = ("runs:/", "models:/", "mlflow-artifacts:/")


def is_artifact(source: str) -> bool:
    """Tell whether a name is a URI of something in MLflow."""
    return source.startswith(SCHEMES)


def download(uri: str, folder: Path, *, tracking_uri: str | None = None) -> Path:
    """Download an artifact into `folder` and return its path there, of a model that of its checkpoint.

    Args:
        uri: ``runs:/RUN_ID/path``, ``models:/NAME/VERSION``, ``models:/MODEL_ID``.
        folder: Where to.
        tracking_uri: MLflow's tracking URI; None means ``MLFLOW_TRACKING_URI``, else ``./mlflow.db``.

    Raises:
        RunError: The store does not answer, or there is no such artifact.
    """
    with _asked(tracking_uri, uri) as client, store_of_process(client.tracking_uri):
        import mlflow

        found = Path(mlflow.artifacts.download_artifacts(uri, dst_path=str(folder)))
    checkpoint = found / "data" / "model"  # where the model of a study has it (`mlflow_verdict`)
    return checkpoint if checkpoint.is_dir() else found


def check_run(run_id: str, *, tracking_uri: str | None = None) -> None:
    """Raise where scores could not be logged to a run, before anything is measured.

    Raises:
        RunError: The store does not answer, or has no such run.
    """
    with _asked(tracking_uri, run_id) as client:
        client.get_run(run_id)


def mirrored_run(run: RunDir, *, tracking_uri: str | None = None) -> str:
    """Return the id of the MLflow run that mirrors a run directory.

    Raises:
        RunError: There is none, or the store does not answer.
    """
    with _asked(tracking_uri, str(run.path)) as client:
        experiments = [experiment.experiment_id for experiment in client.search_experiments()]
        found = client.search_runs(experiments, f"tags.id = '{run.spec.id}'", max_results=1)
    if not found:
        raise RunError(
            "MLflow has no run that mirrors this run directory",
            where=str(run.path),
            way_out="`pgsbench sync` makes it",
        )
    return str(found[0].info.run_id)


def log_scores(
    run_id: str, suite: str, values: Mapping[str, float], out: Path, *, tracking_uri: str | None = None
) -> None:
    """Log an evaluation to a run: metrics ``eval/SUITE/NAME`` in percent, and files of scores as artifacts.

    Args:
        run_id: MLflow's id of the run.
        suite: Name of the suite.
        values: Scores and group means by name, as shares.
        out: The evaluation's folder.
        tracking_uri: MLflow's tracking URI; None means ``MLFLOW_TRACKING_URI``, else ``./mlflow.db``.

    Raises:
        RunError: The store does not answer, or has no such run.
    """
    with _asked(tracking_uri, run_id) as client:
        from mlflow.entities import Metric

        now = int(1000 * time.time())
        names = {mlflow_text.valid_name(f"eval/{suite}/{name}"): value for name, value in values.items()}
        metrics = [Metric(name, mlflow_text.percent(value), now, 0) for name, value in names.items()]
        client.log_batch(run_id, metrics=metrics)
        for path in sorted(out.glob("scores.*")):
            client.log_artifact(run_id, str(path), f"eval-{suite}")


@contextmanager
def _asked(tracking_uri: str | None, value: str) -> Iterator[Any]:
    """Give a client of a store that exists; what the store refuses becomes the user's mistake."""
    store = resolve_uri(tracking_uri)
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
