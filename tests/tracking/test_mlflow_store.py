"""MLflow's database is made whole or not at all, and one that is damaged does not stop anybody."""

from __future__ import annotations

import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from fake_study import MakeStudy, Seen
from killed import kill_while_it_makes

from pgsbench.errors import RunError
from pgsbench.tracking import mlflow_store
from pgsbench.tracking.mirror import Mirror
from pgsbench.tracking.mlflow_store import Store, resolve_uri

IMPORTS = (
    "from pathlib import Path; from pgsbench.tracking.mlflow_store import Store, resolve_uri; "
    "from mlflow.store.tracking import sqlalchemy_store; from mlflow import MlflowClient"
)
CONNECT = "with Store(resolve_uri()).connect(Path()): pass"


@pytest.fixture
def database(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the default database of this test is; it does not exist yet."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    return tmp_path / "mlflow.db"


def runs_in(uri: str) -> int:
    with Store(uri).connect(Path.cwd()) as (client, experiment):
        return len(client.search_runs([experiment.experiment_id]))


def aside(database: Path) -> list[Path]:
    return sorted(database.parent.glob("mlflow.db.damaged-*"))


def test_a_kill_while_the_database_is_made_stops_nobody(database: Path) -> None:
    assert kill_while_it_makes(database, IMPORTS, CONNECT, [0.0, 0.15, 0.4]) == 3
    assert runs_in(resolve_uri()) == 0
    assert not list(database.parent.glob(".*.tmp*"))


@pytest.mark.slow
def test_many_kills_while_the_database_is_made_stop_nobody(database: Path) -> None:
    for number in range(12):
        kill_while_it_makes(database, IMPORTS, CONNECT, [0.1 * number])
        assert runs_in(resolve_uri()) == 0
        database.rename(database.with_name(f"made-{number}.db"))


@pytest.mark.parametrize("size", [0, 100, 8192, "half"])
def test_a_damaged_default_database_is_moved_aside(
    database: Path,
    empty_store: Path,
    size: int | str,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # Making the tables takes seconds; that it works is shown above.
    monkeypatch.setattr(
        mlflow_store, "_make_tables", lambda url: shutil.copy(empty_store, url.removeprefix("sqlite:///"))
    )
    content = empty_store.read_bytes()
    if size == "half":  # its tables, but nothing in them: what a kill before the last step leaves
        shutil.copy(empty_store, database)
        with closing(sqlite3.connect(database)) as connection:
            connection.execute("DELETE FROM experiments")
            connection.commit()
    else:
        assert isinstance(size, int)
        database.write_bytes(content[:size] if size != 8192 else b"\xff" * size)
    before = database.read_bytes()
    assert runs_in(resolve_uri()) == 0
    if size:
        (moved,) = aside(database)
        assert moved.read_bytes() == before
        assert moved.name in caplog.text


def test_a_named_database_is_never_moved(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    database = tmp_path / "mine.db"
    database.write_bytes(b"\xff" * 8192)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{database}")
    with (
        pytest.raises(RunError, match=r"(?s)mine\.db: .*not a database"),
        Store(resolve_uri()).connect(tmp_path),
    ):
        pass
    assert database.read_bytes() == b"\xff" * 8192


def test_a_database_that_was_cut_off_in_a_write_is_kept(
    database: Path, empty_store: Path, tmp_path: Path
) -> None:
    """A killed writer leaves a journal beside a good database, from which SQLite mends it."""
    shutil.copy(empty_store, database)
    write = (
        "import os, sqlite3; connection = sqlite3.connect('mlflow.db'); "
        "connection.execute('PRAGMA cache_size = 1'); "
        "connection.execute('BEGIN'); "
        "connection.execute('CREATE TABLE mine (x)'); "
        "connection.executemany('INSERT INTO mine VALUES (?)', [('x' * 4000,)] * 100); os._exit(1)"
    )
    subprocess.run([sys.executable, "-c", write], check=False, cwd=tmp_path)
    assert database.with_name("mlflow.db-journal").stat().st_size
    assert runs_in(resolve_uri()) == 0
    assert not aside(database)


def test_a_database_that_another_process_writes_to_is_kept(database: Path, empty_store: Path) -> None:
    shutil.copy(empty_store, database)
    with closing(sqlite3.connect(database)) as connection:
        connection.execute("BEGIN EXCLUSIVE")
        with pytest.raises(Exception, match="locked"):
            runs_in(f"{resolve_uri()}?timeout=0")
    assert not aside(database)


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
