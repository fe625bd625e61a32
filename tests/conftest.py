"""What many tests need: one thread, no network, and a tiny world, made once a session."""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"

from collections.abc import Iterator
from pathlib import Path

import pytest
import tinyworld
import torch
from quick_disk import quick_disk
from quick_workers import one_fork_server, quick_workers

torch.set_num_threads(1)


@pytest.fixture(scope="session", autouse=True)
def data_root(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Tests start without the data sets and embeddings of whoever runs them, and leave none behind."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PGSBENCH_DATA", str(tmp_path_factory.mktemp("data")))
        yield


@pytest.fixture(scope="session", autouse=True)
def working_folder() -> Iterator[None]:
    """No test leaves a study in the folder that all are started in."""
    folder = Path.cwd()
    names = [folder / name for name in ("mlflow.db", "runs")]
    before = [name for name in names if name.exists()]
    yield
    assert [name for name in names if name.exists()] == before


@pytest.fixture(scope="session", autouse=True)
def disk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with quick_disk(tmp_path_factory.mktemp("store")):
        yield


@pytest.fixture(scope="session", autouse=True)
def workers() -> Iterator[None]:
    with quick_workers():
        yield


@pytest.fixture(scope="session", autouse=True)
def fork_server() -> Iterator[None]:
    """Readers of one test and workers of another are forked from one process."""
    with one_fork_server():
        yield


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> tinyworld.TinyWorld:
    return tinyworld.make(tmp_path_factory.mktemp("tiny"))
