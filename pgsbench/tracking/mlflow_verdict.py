"""A verdict in MLflow: a run for each arm with its seeds below, and the best checkpoint as a model."""

from __future__ import annotations

import re
import time
import warnings
from collections.abc import Mapping
from contextlib import redirect_stderr
from io import StringIO
from pathlib import Path
from typing import Any

from pgsbench.config.search import MEAN
from pgsbench.records.study_record import StudyRecord
from pgsbench.records.verdict_record import ALL_GROUPS, VerdictRecord
from pgsbench.tracking import mlflow_text
from pgsbench.tracking.mlflow_run import MlflowRun
from pgsbench.tracking.mlflow_store import store_of_process
from pgsbench.tracking.rundir import RunDir


def sync_arms(
    parent: MlflowRun,
    record: StudyRecord,
    runs: Mapping[str, RunDir],
    known: Mapping[str, MlflowRun],
    verdict: VerdictRecord,
) -> dict[str, MlflowRun]:
    """Bring the arms of a study up to date and return them by label.

    Args:
        parent: The study's own run.
        record: The study.
        runs: Run directories that exist, by `Entry.directory`.
        known: Runs of the study that the store has, by `id`.
        verdict: What the study's report says.
    """
    found = {}
    for label in dict.fromkeys(run.spec.label for run in record.runs):
        planned = [run.directory for run in record.runs if run.spec.label == label]
        done = [runs[name] for name in planned if name in runs and runs[name].is_done]
        if not done or not verdict.scores.get(label):
            continue
        id_ = f"arm:{label}"
        entry = known.get(id_)
        if entry is None:
            start_ms = min(mlflow_text.started_ms(run) for run in done)
            tags = {"kind": "arm", "study": parent.tag("study"), "id": id_, "label": label}
            entry = MlflowRun.create(parent.client, parent.run.info.experiment_id, label, tags, start_ms)
        entry.tags({**arm_tags(label, verdict), "seeds": str(len(done)), "mlflow.parentRunId": parent.id})
        entry.values(score_metrics(verdict, label))
        entry.status("FINISHED", int(1000 * time.time()))
        found[label] = entry
    return found


def score_metrics(verdict: VerdictRecord, label: str) -> dict[str, float]:
    """Return an arm's scores and, charted apart, the ends of their intervals in percent."""
    found: dict[str, float] = {}
    for group, score in verdict.scores[label].items():
        name = MEAN if group == ALL_GROUPS else mlflow_text.valid_name(group)
        found[f"score/{name}"] = mlflow_text.percent(score.value)
        found[f"score_ends/{name}_low"] = mlflow_text.percent(score.low)
        found[f"score_ends/{name}_high"] = mlflow_text.percent(score.high)
    return found


def arm_tags(label: str, verdict: VerdictRecord) -> dict[str, str]:
    """Return the verdict of an arm's comparisons as a tag, and that of the study as its note."""
    said = [
        f"{pair}: {outcome}"
        for pair, outcome in verdict.outcomes.items()
        if label in verdict.compared.get(pair, ())
    ]
    note = f"**{verdict.answer}**\n\n{verdict.certainty} {verdict.setting}"
    return {"verdict": "; ".join(said) or "not compared", "mlflow.note.content": note}


#: The module that loads a checkpoint for MLflow; named only, as it imports open_clip.
LOADER = "pgsbench.evaluation.pyfunc"


def model_name(study: str) -> str:
    """Return the name of a study's model: MLflow allows no dots in it, which names of budgets have."""
    return f"pgsbench-{re.sub(r'[^A-Za-z0-9_-]', '_', study)}"


def log_best(
    record: StudyRecord,
    runs: Mapping[str, RunDir],
    entries: Mapping[str, MlflowRun],
    verdict: VerdictRecord,
) -> None:
    """Make the best checkpoint of a study a model of its run and the newest version of ``pgsbench-STUDY``.

    It is the only checkpoint that is copied into the store; the page of each run says where its own lies. The
    description of the version is the verdict, also where that changes and the best run does not.

    Args:
        record: The study.
        runs: Run directories that exist, by `Entry.directory`.
        entries: Their runs in the store, likewise.
        verdict: What the study's report says.
    """
    best = best_run(record, runs, verdict)
    if best not in entries or not runs[best].checkpoint.is_dir():
        return
    entry, client = entries[best], entries[best].client
    name = model_name(record.config.name)
    newest = _newest(client, name)
    if newest is None or newest.run_id != entry.id:
        _log(entry, name, runs[best].checkpoint)
        client.update_registered_model(name, _how_to_load(name))
        newest = _newest(client, name)
    description = f"{verdict.answer} {verdict.certainty} {verdict.setting}"
    if newest.description != description:
        client.update_model_version(name, newest.version, description)


def _newest(client: Any, name: str) -> Any:
    versions = client.search_model_versions(f"name = '{name}'")
    return max(versions, key=lambda version: int(version.version), default=None)


def best_run(record: StudyRecord, runs: Mapping[str, RunDir], verdict: VerdictRecord) -> str:
    """Return the directory of the best seed of the arm with the highest mean; empty where none has scores.

    The oracle is no method.
    """
    methods = {planned.spec.label for planned in record.runs if not planned.spec.is_oracle}
    means = {
        label: scores[verdict.headline].value
        for label, scores in verdict.scores.items()
        if verdict.headline in scores and label in methods
    }
    best = max(means, key=lambda label: means[label], default="")
    found: dict[str, float] = {}
    for planned in record.runs:
        run = runs.get(planned.directory)
        if run and planned.spec.label == best and (scores := run.scores_of(planned.suite_fingerprint)):
            found[planned.directory] = mlflow_text.group_means(scores).get(MEAN, 0.0)
    return max(found, key=lambda directory: found[directory], default="")


def _log(entry: MlflowRun, name: str, checkpoint: Path) -> None:
    import mlflow

    ended_ms = entry.client.get_run(entry.id).info.end_time
    # It warns of its own types, and says each version that it makes.
    quiet = warnings.catch_warnings(action="ignore"), redirect_stderr(StringIO())
    with store_of_process(entry.client.tracking_uri), quiet[0], quiet[1], mlflow.start_run(run_id=entry.id):
        mlflow.pyfunc.log_model(
            name=name,
            loader_module=LOADER,
            data_path=str(checkpoint),
            pip_requirements=["pgsbench"],
            registered_model_name=name,
        )
    entry.client.set_terminated(entry.id, "FINISHED", end_time=ended_ms)  # not now


def _how_to_load(name: str) -> str:
    return (
        "The best checkpoint of a study, for embedding pictures and texts:\n\n"
        f'    model = mlflow.pyfunc.load_model("models:/{name}/latest")\n'
        '    model.predict({"text": ["a red circle"]})  # (n, d), of length 1\n'
        '    model.predict({"picture": ["a.jpg"]})  # paths, or the bytes of files\n'
    )
