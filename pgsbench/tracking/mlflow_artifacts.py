"""What an evaluation wants of MLflow: models out of a store, and scores into one of its runs.

The store is that of ``MLFLOW_TRACKING_URI``, else ``./mlflow.db``.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pgsbench.errors import RunError
from pgsbench.records.scores import Scores
from pgsbench.tracking import mlflow_text
from pgsbench.tracking.mlflow_store import client_of, database_path, resolve_uri, store_of_process
from pgsbench.tracking.rundir import RunDir

#: Stands for the MLflow run that mirrors the run directory in question.
MIRROR = "mirror"
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


def run_named(name: str, source: str) -> str:
    """Return the id of the run that gets a checkpoint's scores; asked before anything is measured.

    Args:
        name: The run's id, or `MIRROR`: the run that mirrors the run directory `source`.
        source: The checkpoint.

    Raises:
        RunError: The store does not answer, or has no such run, or the checkpoint is no run directory.
    """
    if name != MIRROR:
        with _asked(name) as client:
            client.get_run(name)
        return name
    run = RunDir(Path(source))
    if not run.exists:
        raise RunError(
            "only a run directory knows its training and its MLflow run",
            where="--mlflow",
            value=source,
            way_out="name a directory under runs/",
        )
    with _asked(source) as client:
        experiments = [experiment.experiment_id for experiment in client.search_experiments()]
        found = client.search_runs(experiments, f"tags.id = '{run.spec.id}'", max_results=1)
    if not found:
        rule, way_out = "MLflow has no run that mirrors this run directory", "`pgsbench sync` makes it"
        raise RunError(rule, where=source, way_out=way_out)
    return str(found[0].info.run_id)


def log_scores(run_id: str, scores: Scores, out: Path) -> None:
    """Log an evaluation to a run: metrics ``eval/SUITE/NAME`` in percent, and files of scores as artifacts.

    Args:
        run_id: MLflow's id of the run.
        scores: What was measured.
        out: The evaluation's folder.

    Raises:
        RunError: The store does not answer, or has no such run.
    """
    values = {task: score.value for task, score in scores.primary().items()}
    values |= {f"group/{group}": mean.value for group, mean in scores.groups.items()}
    with _asked(run_id) as client:
        from mlflow.entities import Metric

        now, under = int(1000 * time.time()), f"eval/{scores.suite}"
        names = {mlflow_text.valid_name(f"{under}/{name}"): value for name, value in values.items()}
        metrics = [Metric(name, mlflow_text.percent(value), now, 0) for name, value in names.items()]
        client.log_batch(run_id, metrics=metrics)
        for path in sorted(out.glob("scores.*")):
            client.log_artifact(run_id, str(path), f"eval-{scores.suite}")


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
