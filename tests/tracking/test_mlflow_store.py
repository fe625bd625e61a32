"""MLflow's database is made whole or not at all, and a damaged one is a warning."""

from __future__ import annotations

from pathlib import Path

import pytest
from killed import kill_while_it_makes

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
