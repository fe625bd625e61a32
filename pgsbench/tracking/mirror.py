"""The mirror of run directories in MLflow: one parent run per study, one child per run.

MLflow is fed from what lies on disk and from nothing else, so it may be down, deleted or fed again at any
time. What a store already has is written in the store itself (`pgsbench.tracking.mlflow_run`), so feeding is
idempotent for any number of stores, from any machine that sees the run directories.
"""

from __future__ import annotations

import getpass
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from pgsbench.errors import RunError, without_password
from pgsbench.records import files
from pgsbench.records.run_spec import RunSpec
from pgsbench.records.study_record import StudyRecord, StudyRun
from pgsbench.records.verdict_record import VerdictRecord
from pgsbench.tracking import mlflow_text, mlflow_views
from pgsbench.tracking.mlflow_arms import group_names, sync_arms
from pgsbench.tracking.mlflow_models import register_best
from pgsbench.tracking.mlflow_run import SENT, MlflowRun
from pgsbench.tracking.mlflow_store import Store, resolve_uri
from pgsbench.tracking.pruned import pruned_points
from pgsbench.tracking.rundir import RunDir

#: A larger checkpoint is named by its path instead of copied, where the store cannot link to it.
MODEL_LIMIT_BYTES = 32 << 20
#: After a failure training goes on alone for this long before the store is asked again.
PAUSE_SECONDS = 60.0


@dataclass(frozen=True)
class Synced:
    """What one call of `Mirror.sync_study` did.

    Attributes:
        runs: Runs of the study that the store has now, the parent not counted.
        points: Metric values sent.
        files: Artifacts sent.
        problem: Why the store is behind, or empty; it can be fed again later.
    """

    runs: int = 0
    points: int = 0
    files: int = 0
    problem: str = ""


class Mirror:
    """Feeds one MLflow experiment from run directories.

    Args:
        tracking_uri: MLflow's tracking URI; None means ``MLFLOW_TRACKING_URI``, else ``./mlflow.db``.
    """

    def __init__(self, tracking_uri: str | None = None) -> None:
        self.store = Store(resolve_uri(tracking_uri))
        self._paused_until, self._problem = 0.0, ""
        self._unchanged: dict[tuple[str, str], object] = {}

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
                return self._sync(client, experiment, folder, report_folder, running=running)
        except Exception as error:  # a mirror must never end a training run, whatever breaks in it
            self._paused_until = time.monotonic() + PAUSE_SECONDS
            self._problem = without_password(str(error).strip()) or type(error).__name__
            return Synced(problem=self._problem)

    def _sync(
        self, client: Any, experiment: Any, folder: Path, report_folder: Path | None, *, running: bool
    ) -> Synced:
        record = StudyRecord.read(folder)
        planned = {run.directory: RunDir(folder.parent / run.directory) for run in record.runs}
        runs = {path: run for path, run in planned.items() if run.exists}
        experiment_id, colours = str(experiment.experiment_id), mlflow_views.colours(record)
        known = _known(client, experiment_id, folder.name)
        parent = known.get("") or _create_parent(client, experiment_id, folder.name, runs)
        problems = []
        verdict = VerdictRecord.read(report_folder) if report_folder else None
        arms = sync_arms(parent, record, runs, known, verdict) if verdict else {}
        entries = [parent, *arms.values()]
        # A training is one row, although it can be planned twice, as an arm and as a point of the search: as
        # two rows it would count twice in the page's groups and charts. The first plan gives its name, and
        # its page says the others.
        plans: dict[str, list[StudyRun]] = {}
        for one in record.runs:
            if one.directory in runs:
                plans.setdefault(one.directory, []).append(one)
        for directory, (first, *others) in plans.items():
            run, spec = runs[directory], first.spec
            try:
                tags = _tags(folder.name, spec, run)
                tags["mlflow.note.content"] = mlflow_text.run_note(run, [other.spec.name for other in others])
                tags["mlflow.runColor"] = colours[spec.label]
                tags["mlflow.parentRunId"] = arms.get(spec.label, parent).id
                entries += self._sync_run(first, run, parent, known, tags)
            except RunError as error:  # one damaged run directory must not hide the others
                problems.append(str(error))
        for label, entry in arms.items():
            entry.tags({"mlflow.runColor": colours[label]})
        _sync_parent(experiment, parent, folder, record, runs, report_folder, verdict, running=running)
        if verdict:
            register_best(
                client, record, runs, known | {entry.tag("id"): entry for entry in entries}, verdict
            )
        return Synced(
            runs=len(plans),
            points=sum(entry.num_points for entry in entries),
            files=sum(entry.num_files for entry in entries),
            problem="; ".join(problems),
        )

    def _sync_run(
        self,
        planned: StudyRun,
        run: RunDir,
        parent: MlflowRun,
        known: Mapping[str, MlflowRun],
        tags: Mapping[str, str],
    ) -> list[MlflowRun]:
        """Feed one run where anything of it changed since this process last looked."""
        entry, spec = known.get(tags["id"]), planned.spec
        key = parent.id, spec.id
        state = tags["mlflow.parentRunId"], planned.suite_fingerprint, _state(run)
        if entry and self._unchanged.get(key) == (entry.id, state):
            return []
        if entry is None:
            name, start_ms = spec.name, _ms(mlflow_text.started(run))
            entry = MlflowRun.create(parent.client, parent.run.info.experiment_id, name, tags, start_ms)
        entry.tags(tags)
        _feed_run(entry, planned, run)
        self._unchanged[key] = (entry.id, state)
        return [entry]


def _known(client: Any, experiment_id: str, study: str) -> dict[str, MlflowRun]:
    """Return the runs of a study that the store has, by `id`; the study's own run has the empty one."""
    found: dict[str, MlflowRun] = {}
    token = None
    while True:
        query = f"tags.study = '{study}' and tags.`{SENT}` LIKE '{{%'"
        page = client.search_runs([experiment_id], query, max_results=500, page_token=token)
        for run in page:
            found.setdefault(run.data.tags.get("id", ""), MlflowRun(client, run))
        token = page.token
        if not token:
            return found


def _create_parent(client: Any, experiment_id: str, study: str, runs: Mapping[str, RunDir]) -> MlflowRun:
    start_ms = min((_ms(mlflow_text.started(run)) for run in runs.values()), default=int(1000 * time.time()))
    return MlflowRun.create(
        client, experiment_id, study, {"kind": "study", "study": study} | _origin(), start_ms
    )


def _feed_run(entry: MlflowRun, planned: StudyRun, run: RunDir) -> None:
    """Send what is new of one run."""
    spec = planned.spec
    is_held = run.holder is not None  # asked first: a run that ends meanwhile was not killed
    lines, done = run.metrics(), run.is_done
    params = mlflow_text.run_params(spec.config.model_dump(mode="json"))
    entry.params(params)
    data = spec.config.data.source
    entry.dataset(Path(data).name, spec.data, data)

    start_ms, last_step = _ms(mlflow_text.started(run)), entry.sent.get("step", -1)
    thinned = mlflow_text.thin(lines, spec.config.training.samples, done=done)
    new = [line for line in thinned if line["step"] > last_step]
    entry.points(
        [
            (name, value, start_ms + int(1000 * line.get("seconds", 0)), line["step"])
            for line in new
            for name, value in mlflow_text.curve_values(line).items()
        ]
    )
    if new:
        entry.sent["step"] = new[-1]["step"]

    model_id = None
    if done and run.checkpoint.is_dir():
        name = f"{spec.arm}-s{spec.seed}-{spec.id}".replace(".", "_")
        model_id = entry.model(name, run.checkpoint, params, limit_bytes=MODEL_LIMIT_BYTES)
    scores = run.scores_of(planned.suite_fingerprint)
    entry.values(mlflow_text.run_metrics(run, scores), model_id=model_id)
    entry.files((path.name, path) for path in run.path.glob("[!.]*.json"))
    entry.files((f"figures/{path.name}", path) for path in sorted(run.figures.glob("*.png")))
    if scores:
        entry.table("tables/scores.json", mlflow_text.score_table(scores))
    entry.save()
    entry.status("FINISHED" if done else "RUNNING" if is_held else "KILLED", _last_change_ms(run))


def _sync_parent(
    experiment: Any,
    parent: MlflowRun,
    folder: Path,
    record: StudyRecord,
    runs: Mapping[str, RunDir],
    report_folder: Path | None,
    verdict: VerdictRecord | None,
    *,
    running: bool,
) -> None:
    """Send what is new of the study as a whole."""
    alive = running or any(run.holder for run in runs.values())  # asked first, as in `_feed_run`
    done, planned = sum(run.is_done for run in runs.values()), len({run.directory for run in record.runs})
    scores = [
        runs[one.directory].scores_of(one.suite_fingerprint) for one in record.runs if one.directory in runs
    ]
    groups = list(dict.fromkeys(group for one in scores if one for group in mlflow_text.group_means(one)))
    rows = mlflow_text.arm_rows(record, runs)
    parent.values(mlflow_text.study_metrics(rows, groups, planned, done))
    study, experiment_id = parent.run.data.tags["study"], experiment.experiment_id
    note = mlflow_text.study_note(
        record,
        rows,
        groups,
        table=mlflow_views.runs_path(experiment_id, study),
        charts=mlflow_views.runs_path(experiment_id, study, charts=True),
    )
    scored = {"run": groups} | ({"arm": group_names(verdict)} if verdict else {})
    for kind, names in scored.items():
        view = mlflow_views.view_tag(study, kind)
        state = mlflow_views.view_state(study, names, runs.values(), kind)
        if experiment.tags.get(view) != state:
            parent.client.set_experiment_tag(experiment_id, view, state)
    if verdict:
        by_arm = mlflow_views.runs_path(experiment_id, study, kind="arm")
        first = f"**{verdict.answer}**\n\n{verdict.certainty}\n\n[The arms, the best first]({by_arm})."
        note = f"{first}\n\n{note}"
        parent.tags({"verdict": verdict.answer})
    parent.tags({"mlflow.note.content": note, "done": f"{done}/{planned}"})
    if record.source:
        parent.texts({"study.yaml": record.source})
    columns = dict.fromkeys(key for row in rows for key in row)
    parent.table(
        "tables/arms.json", {key: [mlflow_text.rounded(row.get(key)) for row in rows] for key in columns}
    )
    if report_folder and report_folder.is_dir():
        files = sorted(path for path in report_folder.rglob("[!.]*") if path.is_file())
        parent.files((f"report/{path.relative_to(report_folder).as_posix()}", path) for path in files)
    parent.save()
    last_ms = max((_last_change_ms(run) for run in runs.values()), default=int(1000 * time.time()))
    pruned = pruned_points(folder, record.config.search, record.runs)
    ended = {path for path, run in runs.items() if run.is_done}
    ended |= {run.directory for run in record.runs if run.spec.label in pruned}
    parent.status("RUNNING" if alive else "FINISHED" if len(ended) == planned else "KILLED", last_ms)


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
    } | _origin()
    if environment is not None and environment.git:
        tags |= {"git": environment.git, "mlflow.source.git.commit": environment.git}
    return tags


def _origin() -> dict[str, str]:
    tags = {"mlflow.source.name": "pgsbench", "mlflow.source.type": "LOCAL"}
    with suppress(OSError, KeyError):  # a container's user may have no name
        tags["mlflow.user"] = getpass.getuser()
    return tags


def _state(run: RunDir) -> object:
    """Return what changes whenever a run directory does."""
    files = [*run.path.glob("[!.]*"), *run.figures.glob("[!.]*")]  # what is being written may be gone soon
    return run.holder, sorted((path.name, path.stat().st_mtime_ns, path.stat().st_size) for path in files)


def _last_change_ms(run: RunDir) -> int:
    names = (files.DONE, files.SCORES, files.SUMMARY, files.METRICS, files.SPEC)
    found = next(run.path / name for name in names if (run.path / name).is_file())
    return int(1000 * found.stat().st_mtime)


def _ms(moment: datetime) -> int:
    return int(1000 * moment.timestamp())
