"""Fixtures of the tracking tests: stores without the seconds that their tables take."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from made_study import NewStore

from pgsbench.tracking.mlflow_store import Store


@pytest.fixture(scope="session")
def empty_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return an MLflow database with its tables, which take seconds to make."""
    database = tmp_path_factory.mktemp("store") / "mlflow.db"
    with Store(f"sqlite:///{database}", "made-to-have-tables").connect(database.parent):
        return database


@pytest.fixture
def new_store(empty_store: Path, tmp_path: Path) -> NewStore:
    def new(name: str) -> str:
        database = tmp_path / name / "mlflow.db"
        database.parent.mkdir()
        shutil.copy(empty_store, database)
        return f"sqlite:///{database}"

    return new
