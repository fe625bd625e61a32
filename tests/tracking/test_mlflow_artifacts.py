"""Models out of a store."""

from __future__ import annotations

from pathlib import Path

import pytest
from made_study import NewStore
from mlflow import MlflowClient

from pgsbench.errors import RunError
from pgsbench.tracking import mlflow_artifacts


@pytest.fixture
def store(new_store: NewStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[str, str]:
    """A store with a run, and the run's id."""
    uri = new_store("store")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    client = MlflowClient(tracking_uri=uri)
    experiment = client.create_experiment("mine", artifact_location=(tmp_path / "files").as_uri())
    return uri, client.create_run(experiment).info.run_id


def test_a_folder_comes_out_as_it_went_in(store: tuple[str, str], tmp_path: Path) -> None:
    uri, run_id = store
    (tmp_path / "model").mkdir()
    (tmp_path / "model/weights").write_bytes(b"123")
    MlflowClient(tracking_uri=uri).log_artifacts(run_id, str(tmp_path / "model"), "model")
    source = f"runs:/{run_id}/model"
    assert mlflow_artifacts.is_artifact(source)
    found = mlflow_artifacts.download(source, tmp_path / "here")
    assert (found / "weights").read_bytes() == b"123"
    assert found.is_relative_to(tmp_path / "here")
    with pytest.raises(RunError, match="MLflow refuses"):
        mlflow_artifacts.download(f"runs:/{'0' * 32}/model", tmp_path / "there")
