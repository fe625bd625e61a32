"""MLflow's database is made whole or not at all; models come out of a store as they went in."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import pytest
from made_study import NewStore
from mlflow import MlflowClient

from pgsbench.errors import RunError
from pgsbench.tracking import mlflow_store
from pgsbench.tracking.mlflow_store import Store, resolve_uri

#: Imports what takes long once, and forks a process for each line that it is sent.
PROGRAM = """
import os, sys
exec(sys.argv[1])
for line in sys.stdin:
    child = os.fork()
    if child == 0:
        exec(sys.argv[2])
        os._exit(0)
    print(child, flush=True)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""
IMPORTS = (
    "from pathlib import Path; from pgsbench.tracking.mlflow_store import Store, resolve_uri; "
    "from mlflow.store.tracking import sqlalchemy_store; from mlflow import MlflowClient"
)
CONNECT = "with Store(resolve_uri()).connect(Path()): pass"


def kill_while_it_makes(database: Path, imports: str, code: str, delays: Sequence[float]) -> int:
    """Run `code` once for each delay, and kill it so many seconds after it has written its first bytes.

    Returns:
        How many of the processes died of the kill, not before it.
    """
    killed = 0
    with subprocess.Popen(
        [sys.executable, "-c", PROGRAM, imports, code],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        for delay in delays:
            sizes = _sizes(database)
            process.stdin.write("go\n")
            process.stdin.flush()
            child, until = int(process.stdout.readline()), time.monotonic() + 20
            while _sizes(database) == sizes and time.monotonic() < until:
                time.sleep(0.002)
            time.sleep(delay)
            os.kill(child, signal.SIGKILL)  # a zombie until it is waited for, so the number is its own
            killed += int(process.stdout.readline()) == -signal.SIGKILL
        process.stdin.close()
    return killed


def _sizes(database: Path) -> dict[str, int]:
    """Return the sizes of the database and of what is written beside it."""
    found = {}
    for path in database.parent.glob(f"*{database.name}*"):
        if not path.name.endswith(".lock"):
            found[path.name] = path.stat().st_size if path.exists() else 0
    return {name: size for name, size in found.items() if size}


def test_a_kill_while_the_database_is_made_stops_nobody(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    database = tmp_path / "mlflow.db"
    assert kill_while_it_makes(database, IMPORTS, CONNECT, [0.0, 0.4]) == 2
    with Store(resolve_uri()).connect(Path.cwd()) as (client, experiment):
        assert not client.search_runs([experiment])


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
    assert mlflow_store.is_artifact(source)
    found = mlflow_store.download(source, tmp_path / "here")
    assert (found / "weights").read_bytes() == b"123"
    assert found.is_relative_to(tmp_path / "here")
    with pytest.raises(RunError, match="MLflow refuses"):
        mlflow_store.download(f"runs:/{'0' * 32}/model", tmp_path / "there")
