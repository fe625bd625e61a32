"""Models out of an MLflow store, that of ``MLFLOW_TRACKING_URI``, else ``./mlflow.db``."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pgsbench.errors import RunError
from pgsbench.tracking.mlflow_store import client_of, database_path, resolve_uri, store_of_process

SCHEMES = ("runs:/", "models:/", "mlflow-artifacts:/")


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
