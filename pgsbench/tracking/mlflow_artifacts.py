"""What an evaluation wants of MLflow: models out of a store, and scores into one of its runs."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pgsbench.errors import RunError
from pgsbench.tracking import mlflow_text
from pgsbench.tracking.mlflow_store import database_path, patience, require_answer, resolve_uri
from pgsbench.tracking.rundir import RunDir

SCHEMES = ("runs:/", "models:/", "mlflow-artifacts:/")


def is_artifact(source: str) -> bool:
    """Tell whether a name is a URI of something in MLflow."""
    return source.startswith(SCHEMES)


def download(uri: str, folder: Path, *, tracking_uri: str | None = None) -> Path:
    """Download an artifact into `folder` and return its path there.

    Args:
        uri: ``runs:/RUN_ID/path``, ``models:/NAME/VERSION``, ``models:/MODEL_ID``.
        folder: Where to.
        tracking_uri: MLflow's tracking URI; None means ``MLFLOW_TRACKING_URI``, else ``./mlflow.db``.

    Raises:
        RunError: The store does not answer, or there is no such artifact.
    """
    store = _existing(tracking_uri)
    with patience():
        import mlflow

        try:
            return Path(mlflow.artifacts.download_artifacts(uri, dst_path=str(folder), tracking_uri=store))
        except Exception as error:  # MLflow's stores raise what their libraries raise
            raise RunError(
                f"MLflow has no such artifact: {type(error).__name__}: {str(error).strip()[:200]}",
                where=store,
                value=uri,
                way_out="MLFLOW_TRACKING_URI names the store; `pgsbench ui` shows what is there",
            ) from error


def check_run(run_id: str, *, tracking_uri: str | None = None) -> None:
    """Raise where scores could not be logged to a run, before anything is measured.

    Args:
        run_id: MLflow's id of the run.
        tracking_uri: MLflow's tracking URI; None means ``MLFLOW_TRACKING_URI``, else ``./mlflow.db``.

    Raises:
        RunError: The store does not answer, or has no such run.
    """
    store = _existing(tracking_uri)
    with patience():
        from mlflow.exceptions import MlflowException

        try:
            _client(store).get_run(run_id)
        except MlflowException as error:
            if error.error_code != "RESOURCE_DOES_NOT_EXIST":
                raise RunError(f"MLflow does not answer as it should: {error}", where=store) from error
            raise RunError(
                "MLflow has no such run",
                where=store,
                value=run_id,
                way_out="`pgsbench ui` shows the runs; `--mlflow mirror` names the one of a run directory",
            ) from error


def mirrored_run(run: RunDir, *, tracking_uri: str | None = None) -> str:
    """Return the id of the MLflow run that mirrors a run directory.

    Raises:
        RunError: There is none, or the store does not answer.
    """
    store = _existing(tracking_uri)
    with patience():
        from mlflow.exceptions import MlflowException

        try:
            client = _client(store)
            experiments = [experiment.experiment_id for experiment in client.search_experiments()]
            found = client.search_runs(experiments, f"tags.id = '{run.spec.id}'", max_results=1)
        except MlflowException as error:
            raise RunError(f"MLflow does not answer as it should: {error}", where=store) from error
    if not found:
        raise RunError(
            "MLflow has no run that mirrors this run directory",
            where=store,
            value=str(run.path),
            way_out="`pgsbench sync` makes it",
        )
    return str(found[0].info.run_id)


def log_scores(
    run_id: str, suite: str, values: Mapping[str, float], out: Path, *, tracking_uri: str | None = None
) -> None:
    """Log an evaluation to a run: metrics ``eval/SUITE/NAME``, and the files of scores as artifacts.

    Args:
        run_id: MLflow's id of the run.
        suite: Name of the suite.
        values: Scores and group means by name.
        out: The evaluation's folder.
        tracking_uri: MLflow's tracking URI; None means ``MLFLOW_TRACKING_URI``, else ``./mlflow.db``.

    Raises:
        RunError: The store does not answer, or has no such run.
    """
    store = _existing(tracking_uri)
    with patience():
        from mlflow.entities import Metric
        from mlflow.exceptions import MlflowException

        now = int(1000 * time.time())
        names = {mlflow_text.valid_name(f"eval/{suite}/{name}"): value for name, value in values.items()}
        try:
            client = _client(store)
            client.log_batch(run_id, metrics=[Metric(name, value, now, 0) for name, value in names.items()])
            for path in sorted(out.glob("scores.*")):
                client.log_artifact(run_id, str(path), f"eval-{suite}")
        except MlflowException as error:
            raise RunError(f"MLflow does not take the scores: {error}", where=store, value=run_id) from error


def _client(store: str) -> Any:
    import mlflow

    return mlflow.MlflowClient(tracking_uri=store)


def _existing(tracking_uri: str | None) -> str:
    store = resolve_uri(tracking_uri)
    database = database_path(store)
    if database and not database.is_file():  # MLflow would make an empty one
        raise RunError(
            "there is no MLflow store here", where=str(database), way_out="MLFLOW_TRACKING_URI names another"
        )
    require_answer(store)
    return store
