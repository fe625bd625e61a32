"""Checkpoints in MLflow: files that ``mlflow.pyfunc`` loads, and the best of a study as a model version."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Iterable, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from pgsbench.config.search import MEAN
from pgsbench.records.study_record import StudyRecord
from pgsbench.records.verdict_record import VerdictRecord
from pgsbench.tracking import mlflow_text
from pgsbench.tracking.rundir import RunDir

if TYPE_CHECKING:
    from pgsbench.tracking.mlflow_run import MlflowRun

#: The module that loads a checkpoint for MLflow; named only, as it imports open_clip.
LOADER = "pgsbench.evaluation.pyfunc"
#: Holds the path of a checkpoint that can neither be linked nor, being large, be copied.
LINK = "checkpoint.txt"


def log_files(client: Any, model_id: str, folder: Path, *, limit_bytes: int) -> None:
    """Log what it takes to load a checkpoint as a model.

    Where the store keeps its artifacts in a folder, the files are linked into it, which takes no space. A
    checkpoint is replaced, never written into, so a link keeps what was logged.

    Args:
        client: MLflow client.
        model_id: The logged model.
        folder: The checkpoint. Where it cannot be linked it is copied, or named by its path if it is large.
        limit_bytes: What is larger is large.
    """
    files = sorted(path for path in folder.glob("[!.]*") if path.is_file())  # hidden: half written
    is_linked = _link(files, str(client.get_logged_model(model_id).artifact_location))
    is_small = sum(path.stat().st_size for path in files) <= limit_bytes
    flavor = {"loader_module": LOADER, "python_version": platform.python_version()}
    with TemporaryDirectory() as scratch:
        made = {"MLmodel": json.dumps({"flavors": {"python_function": flavor}, "model_id": model_id})}
        made |= {} if is_linked or is_small else {LINK: str(folder.absolute())}
        for name, content in made.items():
            Path(scratch, name).write_text(content, encoding="utf-8")
        copied = files if is_small and not is_linked else ()
        for path in [*copied, *(Path(scratch, name) for name in made)]:
            client.log_model_artifact(model_id, str(path))


def _link(files: Iterable[Path], location: str) -> bool:
    """Hard-link files into a model's folder; False: it is no folder here, or on another file system."""
    from mlflow.utils.file_utils import local_file_uri_to_path

    if urlsplit(location).scheme not in ("", "file"):
        return False
    folder, made = Path(local_file_uri_to_path(location)), []
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for path in files:
            (folder / path.name).unlink(missing_ok=True)  # of a process that died before it was done
            os.link(path, folder / path.name)
            made.append(folder / path.name)
    except OSError:
        for path in made:
            path.unlink(missing_ok=True)
        return False
    return True


def register_best(
    client: Any,
    record: StudyRecord,
    runs: Mapping[str, RunDir],
    entries: Mapping[str, MlflowRun],
    verdict: VerdictRecord,
) -> None:
    """Make the best checkpoint of a study the newest version of the model ``pgsbench-STUDY``.

    That is the best seed of the arm with the highest mean; the oracle is no method. Its description is the
    study's verdict. Where the best is still the same, only its description is brought up to date.

    Args:
        client: MLflow client.
        record: The study.
        runs: Run directories that exist, by `StudyRun.directory`.
        entries: Runs in the store, by `id`.
        verdict: What the study's report says.
    """
    model_id = _best_model(record, runs, entries, verdict)
    if not model_id:
        return
    # By its address: MLflow would look up an id in the store of the process, not in the client's.
    model, name = client.get_logged_model(model_id), mlflow_text.valid_name(f"pgsbench-{record.config.name}")
    source = model.artifact_location
    description = f"{verdict.answer} {verdict.certainty} {verdict.setting}"
    versions = client.search_model_versions(f"name = '{name}'")
    newest = max(versions, key=lambda version: int(version.version), default=None)
    if newest is None:
        client.create_registered_model(name, description=_how_to_load(name))
    if newest is None or newest.source != source:
        client.create_model_version(
            name,
            source,
            model.source_run_id,
            description=description,
            await_creation_for=None,
            model_id=model_id,
        )
    elif newest.description != description:
        client.update_model_version(name, newest.version, description=description)


def _best_model(
    record: StudyRecord,
    runs: Mapping[str, RunDir],
    entries: Mapping[str, MlflowRun],
    verdict: VerdictRecord,
) -> str:
    """Return the id of the best run's model; empty where none was logged."""
    methods = {planned.spec.label for planned in record.runs if not planned.spec.is_oracle}
    means = {
        label: scores[verdict.headline].value
        for label, scores in verdict.scores.items()
        if verdict.headline in scores and label in methods
    }
    best = max(means, key=lambda label: means[label], default="")
    found = {}
    for planned in record.runs:
        run, entry = runs.get(planned.directory), entries.get(planned.spec.id)
        scores = run.scores_of(planned.suite_fingerprint) if run and planned.spec.label == best else None
        if scores and entry and "model" in entry.sent:
            found[str(entry.sent["model"])] = mlflow_text.group_means(scores).get(MEAN, 0.0)
    return max(found, key=lambda model: found[model], default="")


def _how_to_load(name: str) -> str:
    return (
        "The best checkpoint of a study, for embedding pictures and texts:\n\n"
        f'    model = mlflow.pyfunc.load_model("models:/{name}/latest")\n'
        '    model.predict({"text": ["a red circle"]})  # (n, d), of length 1\n'
        '    model.predict({"picture": ["a.jpg"]})  # paths, or the bytes of files\n'
    )
