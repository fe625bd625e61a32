"""One run in an MLflow store, and what it has been sent already."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from pgsbench.tracking.mlflow_models import log_files

#: Tag in which a run of the store says what it has been sent; the page hides tags that begin with mlflow.
SENT = "mlflow.pgsbench.sent"
Item = TypeVar("Item")

#: MLflow's limits of one request.
METRICS_A_REQUEST, NAMES_A_REQUEST = 1000, 100


class MlflowRun:
    """A run in MLflow; every method sends only what differs from what is there.

    Args:
        client: MLflow client of the store.
        run: The run as the store returned it.
    """

    def __init__(self, client: Any, run: Any) -> None:
        self.client, self.run, self.id = client, run, str(run.info.run_id)
        self.sent: dict[str, Any] = json.loads(run.data.tags.get(SENT) or "{}")
        self.num_points = self.num_files = 0

    @classmethod
    def create(
        cls, client: Any, experiment_id: str, name: str, tags: Mapping[str, str], start_ms: int
    ) -> MlflowRun:
        """Create a run that has been sent nothing yet."""
        run = client.create_run(experiment_id, run_name=name, start_time=start_ms, tags={**tags, SENT: "{}"})
        return cls(client, run)

    def tag(self, name: str) -> str:
        """Return a tag; empty where there is none."""
        return str(self.run.data.tags.get(name, ""))

    def save(self) -> None:
        """Let the store know what it has been sent."""
        self.tags({SENT: json.dumps(self.sent, sort_keys=True)})

    def tags(self, tags: Mapping[str, str]) -> None:
        """Set the tags that are new or changed."""
        from mlflow.entities import RunTag

        new = {key: value for key, value in tags.items() if self.run.data.tags.get(key) != value}
        for part in _parts(list(new.items()), NAMES_A_REQUEST):
            self.client.log_batch(self.id, tags=[RunTag(key, value) for key, value in part])
        self.run.data.tags.update(new)

    def params(self, params: Mapping[str, str]) -> None:
        """Log new params; a changed one, which MLflow refuses, becomes the tag ``changed.<name>``."""
        from mlflow.entities import Param

        there = self.run.data.params
        new = {key: value for key, value in params.items() if key not in there}
        for part in _parts(list(new.items()), NAMES_A_REQUEST):
            self.client.log_batch(self.id, params=[Param(key, value) for key, value in part])
        self.tags(
            {f"changed.{key}": params[key] for key in params if there.get(key, params[key]) != params[key]}
        )
        there.update(new)

    def points(self, points: Sequence[tuple[str, float, int, int]], *, model_id: str | None = None) -> None:
        """Log metric values ``(name, value, time in ms, step)``.

        Points that are there already are dropped by the store, so a repeated call does no harm.
        """
        from mlflow.entities import Metric

        for part in _parts(points, METRICS_A_REQUEST):
            metrics = [
                Metric(name, value, moment, step, model_id=model_id, run_id=self.id)
                for name, value, moment, step in part
            ]
            self.client.log_batch(self.id, metrics=metrics)
        self.num_points += len(points)

    def values(self, metrics: Mapping[str, float], *, model_id: str | None = None) -> None:
        """Log single values, if any of them changed; at step 0, as only then the page draws bars."""
        digest = _digest(json.dumps([metrics, model_id], sort_keys=True).encode())
        if metrics and self.sent.get("values") != digest:
            now = int(1000 * time.time())
            self.points([(name, value, now, 0) for name, value in metrics.items()], model_id=model_id)
            self.sent["values"] = digest

    def files(self, files: Iterable[tuple[str, Path]]) -> None:
        """Upload files ``(path among the artifacts, local file)`` whose content is new."""
        for name, path in files:
            if self._is_new(name, path.read_bytes()):
                self.client.log_artifact(self.id, str(path), str(Path(name).parent) if "/" in name else None)

    def texts(self, texts: Mapping[str, str]) -> None:
        """Upload texts by their path among the artifacts, where they are new."""
        for name, text in texts.items():
            if self._is_new(name, text.encode()):
                self.client.log_text(self.id, text, name)

    def table(self, name: str, columns: Mapping[str, Sequence[Any]]) -> None:
        """Upload ``column -> values`` so that MLflow shows it as a table."""
        rows = [list(row) for row in zip(*columns.values(), strict=True)]
        self.texts({name: json.dumps({"columns": list(columns), "data": rows})})
        self.tags({"mlflow.loggedArtifacts": json.dumps([{"path": name, "type": "table"}])})

    def dataset(self, name: str, digest: str, source: str) -> None:
        """Name the training data as an input."""
        from mlflow.entities import Dataset, DatasetInput, InputTag

        if digest and self.sent.get("data") != digest:
            data = Dataset(name[:500], digest[:36], source_type="local", source=json.dumps({"uri": source}))
            context = InputTag("mlflow.data.context", "training")
            self.client.log_inputs(self.id, datasets=[DatasetInput(data, tags=[context])])
            self.sent["data"] = digest

    def model(self, name: str, folder: Path, params: Mapping[str, str], *, limit_bytes: int) -> str:
        """Name the checkpoint in `folder` as a logged model, with its files where they are small.

        Returns:
            MLflow's id of the model.
        """
        from mlflow.entities import LoggedModelOutput

        if "model" not in self.sent:
            model = self.client.create_logged_model(
                self.run.info.experiment_id,
                name=name,
                source_run_id=self.id,
                tags={"path": str(folder.absolute())},
                params=dict(params),
                model_type="open_clip",
            )
            self.sent |= {"model": model.model_id, "model_ready": False}
            self.save()  # a process that dies before the next line must not create a second one
        model_id = str(self.sent["model"])
        if not self.sent["model_ready"]:
            log_files(self.client, model_id, folder, limit_bytes=limit_bytes)
            self.client.finalize_logged_model(model_id, "READY")
            self.client.log_outputs(self.id, [LoggedModelOutput(model_id, step=0)])
            self.sent["model_ready"] = True
        return model_id

    def status(self, status: str, end_ms: int) -> None:
        """Set the run's status: ``RUNNING``, ``FINISHED`` or ``KILLED``."""
        if self.run.info.status == status:
            return
        if status == "RUNNING":
            self.client.update_run(self.id, status=status)
        else:
            self.client.set_terminated(self.id, status, end_time=end_ms)

    def _is_new(self, name: str, data: bytes) -> bool:
        files: dict[str, str] = self.sent.setdefault("files", {})
        digest = _digest(data)
        if files.get(name) == digest:
            return False
        files[name] = digest
        self.num_files += 1
        return True


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()[:8]


def _parts(items: Sequence[Item], size: int) -> Iterator[Sequence[Item]]:
    return (items[start : start + size] for start in range(0, len(items), size))
