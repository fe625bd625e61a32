"""Fixtures of the tracking tests."""

from __future__ import annotations

from pathlib import Path

import pytest
from made_study import NewStore


@pytest.fixture
def new_store(tmp_path: Path) -> NewStore:
    def new(name: str) -> str:
        (tmp_path / name).mkdir()
        return f"sqlite:///{tmp_path / name / 'mlflow.db'}"

    return new
