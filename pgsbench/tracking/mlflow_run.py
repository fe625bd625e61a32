"""One run in an MLflow store: what it has been sent, and only what is new is."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

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

    def dataset(self, context: str, name: str, digest: str, source: str) -> None:
        """Name data as an input, for ``"training"`` or ``"evaluation"``."""
        from mlflow.entities import Dataset, DatasetInput, InputTag

        data = Dataset(name[-500:], digest[:36], source_type="local", source=json.dumps({"uri": source}))
        tag = InputTag("mlflow.data.context", context)
        self.client.log_inputs(self.id, datasets=[DatasetInput(data, tags=[tag])])

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
