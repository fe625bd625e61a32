"""Models out of a store, and scores into it."""

from __future__ import annotations

from pathlib import Path

import pytest
from made_scores import scores_of
from made_study import NewStore, fake_score, write_fake_study
from mlflow import MlflowClient

from pgsbench.errors import RunError
from pgsbench.tracking import mlflow_artifacts
from pgsbench.tracking.mirror import Mirror
from pgsbench.tracking.rundir import all_runs


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


def test_scores_go_to_a_run(store: tuple[str, str], tmp_path: Path) -> None:
    uri, run_id = store
    (tmp_path / "out").mkdir()
    (tmp_path / "out/scores.csv").write_text("task\n")
    scores = scores_of([fake_score("a/b+", "g", "acc1", 0.5, primary=True)], {}, suite="mine")
    mlflow_artifacts.log_scores(run_id, scores, tmp_path / "out")
    client = MlflowClient(tracking_uri=uri)
    assert client.get_run(run_id).data.metrics == {"eval/mine/a/b_": 50}
    assert [file.path for file in client.list_artifacts(run_id, "eval-mine")] == ["eval-mine/scores.csv"]
    with pytest.raises(RunError, match="MLflow refuses"):
        mlflow_artifacts.run_named("0" * 32, "")
    with pytest.raises(RunError, match="MLflow refuses"):
        mlflow_artifacts.log_scores("0" * 32, scores, tmp_path)


def test_the_run_that_mirrors_a_run_directory(
    new_store: NewStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = write_fake_study(tmp_path / "runs")
    uri = new_store("store")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    run = next(run for run in all_runs(folder.parent) if run.is_done)
    with pytest.raises(RunError, match=r"(?s)no run that mirrors.*pgsbench sync"):
        mlflow_artifacts.run_named("mirror", str(run.path))
    assert not Mirror(uri).sync_study(folder).problem
    found = MlflowClient(tracking_uri=uri).get_run(mlflow_artifacts.run_named("mirror", str(run.path)))
    assert found.data.tags["id"] == run.spec.id
