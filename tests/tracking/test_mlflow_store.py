"""MLflow's database is made whole or not at all, and a damaged one is a warning."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from fake_study import MakeStudy, Seen
from killed import kill_while_it_makes

from pgsbench.tracking.mirror import Mirror
from pgsbench.tracking.mlflow_store import Store, resolve_uri

IMPORTS = (
    "from pathlib import Path; from pgsbench.tracking.mlflow_store import Store, resolve_uri; "
    "from mlflow.store.tracking import sqlalchemy_store; from mlflow import MlflowClient"
)
CONNECT = "with Store(resolve_uri()).connect(Path()): pass"


def test_a_kill_while_the_database_is_made_stops_nobody(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    database = tmp_path / "mlflow.db"
    assert kill_while_it_makes(database, IMPORTS, CONNECT, [0.0, 0.4]) == 2
    with Store(resolve_uri()).connect(Path.cwd()) as (client, experiment):
        assert not client.search_runs([experiment])


def test_a_damaged_database_is_told_and_left_alone(tmp_path: Path, make_study: MakeStudy) -> None:
    database = tmp_path / "mine.db"
    database.write_bytes(b"\xff" * 8192)
    assert "not a database" in Mirror(f"sqlite:///{database}").sync_study(make_study(tmp_path)).problem
    assert database.read_bytes() == b"\xff" * 8192


def test_on_a_shared_server_everybody_may_have_an_experiment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, make_study: MakeStudy, new_store: Callable[[str], str]
) -> None:
    folder, uri = make_study(tmp_path, steps=2), new_store("store")
    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", "of Ada")
    Mirror(uri).sync_study(folder)
    monkeypatch.delenv("MLFLOW_EXPERIMENT_NAME")
    Mirror(uri).sync_study(folder)
    client = Seen(uri).client
    found = [client.get_experiment_by_name(name) for name in ("of Ada", "pgsbench")]
    one, other = (client.search_runs([experiment.experiment_id]) for experiment in found)
    assert len(one) == len(other) > 0
