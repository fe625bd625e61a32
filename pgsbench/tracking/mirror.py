"""The mirror of run directories in MLflow: one parent run per study, one child per run.

MLflow is fed from what lies on disk and from nothing else. So it may be down, deleted or damaged at any time:
that is a warning, and `pgsbench sync` makes the mirror again. What a store already has is written in the
store itself (`pgsbench.tracking.mlflow_store`), so feeding is idempotent for any number of stores, from any
machine that sees the run directories.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pgsbench.colours import label_colours
from pgsbench.errors import RunError, without_password
from pgsbench.hashing import digest
from pgsbench.records import files
from pgsbench.records.run_spec import RunSpec
from pgsbench.records.study_record import Entry, StudyRecord
from pgsbench.records.verdict_record import VerdictRecord
from pgsbench.tracking import mlflow_text
from pgsbench.tracking.mlflow_run import SENT, MlflowRun
from pgsbench.tracking.mlflow_store import Store, resolve_uri
from pgsbench.tracking.mlflow_verdict import log_best, sync_arms
from pgsbench.tracking.rundir import RunDir
from pgsbench.tracking.states import pruned_points

#: After a failure training goes on alone for this long before the store is asked again.
PAUSE_SECONDS = 60.0
#: What MLflow shows as the source of a run.
SOURCE = {"mlflow.source.name": "pgsbench", "mlflow.source.type": "LOCAL"}


@dataclass(frozen=True)
class Synced:
    """What one call of `Mirror.sync_study` did.

    Attributes:
        runs: Runs of the study that the store has now; arms and the study itself are not counted.
        fed: Of these, those that were new or had changed.
        problem: Why the store is behind, or empty; it can be fed again later.
    """

    runs: int = 0
    fed: int = 0
    problem: str = ""


class Mirror:
    """Feeds one MLflow experiment from run directories.

    Args:
        tracking_uri: MLflow's tracking URI; None means ``MLFLOW_TRACKING_URI``, else ``./mlflow.db``.
    """

    def __init__(self, tracking_uri: str | None = None) -> None:
        self.store = Store(resolve_uri(tracking_uri))
        self._paused_until, self._problem = 0.0, ""

    def sync_study(self, folder: Path, *, report_folder: Path | None = None, running: bool = False) -> Synced:
        """Bring MLflow up to date with a study; sends only what is new and never raises.

        Args:
            folder: ``runs/<study>``, with its ``study.json``.
            report_folder: ``reports/<study>``, where it is written already.
            running: Whether the caller is still working on the study.

        Returns:
            What was sent. Where the store cannot be fed, `Synced.problem` says why, and for
            `PAUSE_SECONDS` further calls return at once with the same answer.
        """
        if time.monotonic() < self._paused_until:
            return Synced(problem=self._problem)
        try:
            with self.store.connect(folder) as (client, experiment):
                return _sync(client, experiment, folder, report_folder, running=running)
        except Exception as error:  # a mirror must never end a training run, whatever breaks in it
            self._paused_until = time.monotonic() + PAUSE_SECONDS
            self._problem = without_password(str(error).strip()) or type(error).__name__
            return Synced(problem=self._problem)


def _sync(client: Any, experiment: str, folder: Path, report_folder: Path | None, *, running: bool) -> Synced:
    record = StudyRecord.read(folder)
    planned = {run.directory: RunDir(folder.parent / run.directory) for run in record.runs}
    runs = {path: run for path, run in planned.items() if run.exists}
    alive = running or any(run.holder for run in runs.values())  # asked first: one that ends was not killed
    known = _known(client, experiment, folder.name)
    parent, params = known.get(""), mlflow_text.study_params(record.config)
    if parent is not None and parent.run.data.params.items() - params.items():
        client.delete_run(parent.id)  # a study that was edited: MLflow lets no param change
        parent = None
    if parent is None:
        start_ms = min(map(mlflow_text.started_ms, runs.values()), default=int(1000 * time.time()))
        tags = {"kind": "study", "study": folder.name} | SOURCE
        parent = MlflowRun.create(client, experiment, folder.name, tags, start_ms)
        parent.params(params)
        _log_data(parent, record.runs[:1])
    verdict = VerdictRecord.read(report_folder) if report_folder else None
    arms = sync_arms(parent, record, runs, known, verdict) if verdict else {}
    colours = label_colours({run.spec.label: run.spec.arm for run in record.runs})
    for label, arm in arms.items():
        arm.tags({"mlflow.runColor": colours[label]})
    # A training is one row, although it can be planned twice, as an arm and as a point of the search: as
    # two rows it would count twice in the page's groups and charts. The first plan gives its name, and
    # its page says the others.
    plans: dict[str, list[Entry]] = {}
    for one in record.runs:
        if one.directory in runs:
            plans.setdefault(one.directory, []).append(one)
    entries: dict[str, MlflowRun] = {}
    fed, problems = 0, []
    for directory, (first, *others) in plans.items():
        run, label = runs[directory], first.spec.label
        try:
            tags = _tags(folder.name, first.spec, run) | {
                "mlflow.note.content": mlflow_text.run_note(run, [other.spec.name for other in others]),
                "mlflow.runColor": colours[label],
                "mlflow.parentRunId": arms.get(label, parent).id,
            }
            entry = known.get(first.spec.id) or MlflowRun.create(
                client, experiment, first.spec.name, tags, mlflow_text.started_ms(run)
            )
            entry.tags(tags)
            fed += _sync_run(entry, first, run)
            entries[directory] = entry
        except RunError as error:  # one damaged run directory must not hide the others
            problems.append(str(error))
    _feed_parent(parent, record, runs, report_folder, verdict)
    if verdict and not running:
        log_best(record, runs, entries, verdict)
    pruned = pruned_points(folder, record.config.search, record.runs)
    ended = {run.directory for run in record.runs if run.spec.label in pruned}
    ended |= {path for path, run in runs.items() if run.is_done}
    last_ms = max((_last_change_ms(run) for run in runs.values()), default=int(1000 * time.time()))
    parent.status("RUNNING" if alive else "FINISHED" if len(ended) == len(planned) else "KILLED", last_ms)
    return Synced(len(plans), fed, "; ".join(problems))


def _known(client: Any, experiment: str, study: str) -> dict[str, MlflowRun]:
    """Return the runs of a study that the store has, by `id`; the study's own run has the empty one."""
    found: dict[str, MlflowRun] = {}
    token = None
    while True:
        query = f"tags.study = '{study}' and tags.`{SENT}` LIKE '{{%'"
        page = client.search_runs([experiment], query, max_results=500, page_token=token)
        for run in page:
            found.setdefault(run.data.tags.get("id", ""), MlflowRun(client, run))
        token = page.token
        if not token:
            return found


def _sync_run(entry: MlflowRun, planned: Entry, run: RunDir) -> bool:
    """Bring one run up to date; return whether there was anything but its status to be sent."""
    is_held = run.holder is not None  # asked first: a run that ends meanwhile was not killed
    done = run.is_done
    state = digest([planned.suite_fingerprint, _state([*run.path.glob("[!.]*"), *run.figures.glob("[!.]*")])])
    is_new = entry.sent.get("state") != state
    if is_new:
        _feed_run(entry, planned, run, done=done)
        entry.save(state=state)
    entry.status("FINISHED" if done else "RUNNING" if is_held else "KILLED", _last_change_ms(run))
    return is_new


def _feed_run(entry: MlflowRun, planned: Entry, run: RunDir, *, done: bool) -> None:
    config, step = planned.spec.config, entry.sent.get("step", -1)
    if "state" not in entry.sent:
        entry.params(mlflow_text.params_of(config.model_dump(mode="json")))
        _log_data(entry, [planned])
    thinned = mlflow_text.thin(run.metrics(), config.training.samples, done=done)
    new = [line for line in thinned if line["step"] > step]
    entry.points(mlflow_text.curve_points(new, mlflow_text.started_ms(run)))
    entry.points(mlflow_text.score_points(run))
    entry.sent["step"] = new[-1]["step"] if new else step
    if done:
        scores = run.scores_of(planned.suite_fingerprint)
        entry.values(mlflow_text.run_metrics(run, scores))
        entry.files(run.path, [*run.path.glob("[!.]*.json"), *run.figures.glob("[!.]*.png")])


def _log_data(entry: MlflowRun, runs: Sequence[Entry]) -> None:
    """Name what runs are trained and tested on."""
    for one in runs:
        source, suite = one.spec.config.data.source, one.spec.evaluation.suite
        entry.dataset("training", "/".join(Path(source).parts[-2:]), one.spec.data, source)
        entry.dataset("evaluation", Path(suite).stem, one.suite_fingerprint or "unknown", suite)


def _feed_parent(
    parent: MlflowRun,
    record: StudyRecord,
    runs: Mapping[str, RunDir],
    report_folder: Path | None,
    verdict: VerdictRecord | None,
) -> None:
    """Send what is new of the study as a whole."""
    experiment, study = parent.run.info.experiment_id, parent.tag("study")
    note = mlflow_text.study_note(record, experiment)
    parent.values(mlflow_text.study_metrics(record, runs))
    if verdict:
        arms = mlflow_text.runs_path(experiment, study, "arm")
        note = f"**{verdict.answer}**\n\n{verdict.certainty} [The arms side by side]({arms}).\n\n{note}"
        parent.tags({"verdict": verdict.answer})
    done = sum(run.is_done for run in runs.values())
    parent.tags(
        {"mlflow.note.content": note, "done": f"{done}/{len({run.directory for run in record.runs})}"}
    )
    report = [path for path in report_folder.rglob("[!.]*") if path.is_file()] if report_folder else []
    state = digest([record.source, _state(report)])
    if parent.sent.get("state") != state:
        if record.source:
            parent.client.log_text(parent.id, record.source, "study.yaml")
        if report_folder:
            parent.files(report_folder, report, "report")
        parent.save(state=state)


def _tags(study: str, spec: RunSpec, run: RunDir) -> dict[str, str]:
    environment = run.environment
    tags = {
        "kind": "run",
        "study": study,
        "id": spec.id,
        "arm": spec.arm,
        "label": spec.label,
        "seed": str(spec.seed),
        "strategy": spec.config.strategy.name,
        "text": spec.config.text.strategy,
    } | SOURCE
    if environment is not None and environment.git:
        tags["mlflow.source.git.commit"] = environment.git
    return tags


def _state(paths: Sequence[Path]) -> list[tuple[str, int, int]]:
    """Return what changes whenever one of some files does."""
    return sorted((path.name, path.stat().st_mtime_ns, path.stat().st_size) for path in paths)


def _last_change_ms(run: RunDir) -> int:
    names = (files.DONE, files.SCORES, files.SUMMARY, files.METRICS, files.SPEC)
    found = next(run.path / name for name in names if (run.path / name).is_file())
    return int(1000 * found.stat().st_mtime)
