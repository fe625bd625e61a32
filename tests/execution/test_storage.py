"""Optuna's record of a search is made whole or not at all, and one that is damaged does not stop a search."""

from __future__ import annotations

import shutil
import sqlite3
import subprocess
import sys
import threading
from contextlib import closing
from functools import partial
from pathlib import Path

import optuna
import pytest
from killed import kill_while_it_makes
from optuna.distributions import FloatDistribution
from servers import free_port

from pgsbench.errors import StudyError
from pgsbench.execution.adviser import KnownPoint
from pgsbench.execution.trials import Trials, open_storage

IMPORTS = "from pathlib import Path; from pgsbench.execution.trials import open_storage"
OPEN = "open_storage(Path({!r}), 'ratio')"


@pytest.fixture(autouse=True)
def no_other_storage(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPTUNA_STORAGE", raising=False)


@pytest.fixture(scope="module")
def a_record(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a database with one search that has one trial."""
    folder = tmp_path_factory.mktemp("a-record")
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("OPTUNA_STORAGE", raising=False)
        study = opened(folder)
    study.tell(study.ask(), 0.5)
    return folder / "optuna.db"


def opened(folder: Path) -> optuna.Study:
    return open_storage(folder, "ratio")


def aside(folder: Path) -> list[Path]:
    return sorted(folder.glob("optuna.db.damaged-*"))


def test_a_kill_while_the_record_is_made_stops_nobody(tmp_path: Path) -> None:
    database = tmp_path / "optuna.db"
    assert kill_while_it_makes(database, IMPORTS, OPEN.format(str(tmp_path)), [0.0, 0.03, 0.1]) == 3
    assert opened(tmp_path).trials == []
    assert not list(tmp_path.glob(".*.tmp*"))


@pytest.mark.slow
def test_many_kills_while_the_record_is_made_stop_nobody(tmp_path: Path) -> None:
    for number in range(12):
        folder = tmp_path / str(number)
        folder.mkdir()
        kill_while_it_makes(folder / "optuna.db", IMPORTS, OPEN.format(str(folder)), [0.03 * number])
        assert opened(folder).trials == []


@pytest.mark.parametrize("size", [0, 100, 8192])
def test_a_damaged_record_is_moved_aside(
    tmp_path: Path, a_record: Path, size: int, caplog: pytest.LogCaptureFixture
) -> None:
    before = a_record.read_bytes()[:size] if size != 8192 else b"\xff" * size
    (tmp_path / "optuna.db").write_bytes(before)
    assert opened(tmp_path).trials == []
    if size:
        (moved,) = aside(tmp_path)
        assert moved.read_bytes() == before
        assert moved.name in caplog.text


def test_a_record_that_was_cut_off_in_a_write_is_kept(tmp_path: Path, a_record: Path) -> None:
    """A killed writer leaves a journal beside a good database, from which SQLite mends it."""
    shutil.copy(a_record, tmp_path / "optuna.db")
    write = (
        "import os, sqlite3; connection = sqlite3.connect('optuna.db'); "
        "connection.execute('PRAGMA cache_size = 1'); "
        "connection.execute('BEGIN'); "
        "connection.execute('CREATE TABLE mine (x)'); "
        "connection.executemany('INSERT INTO mine VALUES (?)', [('x' * 4000,)] * 100); os._exit(1)"
    )
    subprocess.run([sys.executable, "-c", write], check=False, cwd=tmp_path)
    assert (tmp_path / "optuna.db-journal").stat().st_size
    assert [trial.value for trial in opened(tmp_path).trials] == [0.5]
    assert not aside(tmp_path)


def test_a_record_that_another_process_writes_to_is_kept(tmp_path: Path, a_record: Path) -> None:
    shutil.copy(a_record, tmp_path / "optuna.db")
    with closing(sqlite3.connect(tmp_path / "optuna.db", check_same_thread=False)) as connection:
        connection.execute("BEGIN EXCLUSIVE")
        with pytest.raises(StudyError, match="locked"):
            opened(tmp_path)
    assert not aside(tmp_path)


@pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning")
def test_a_record_is_kept_behind_a_proxy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Optuna's own proxy talks to the database, and pgsbench to the proxy alone."""
    pytest.importorskip("grpc")
    behind, port = optuna.storages.InMemoryStorage(), free_port()
    serve = partial(optuna.storages.run_grpc_proxy_server, behind, host="127.0.0.1", port=port)
    threading.Thread(target=serve, daemon=True).start()
    optuna.storages.GrpcStorageProxy(host="127.0.0.1", port=port).wait_server_ready(timeout=60)
    monkeypatch.setenv("OPTUNA_STORAGE", f"grpc://127.0.0.1:{port}")
    distributions = {"ratio": FloatDistribution(0, 1)}
    trials = Trials(tmp_path, "ratio", distributions, ["mean"], ["maximize"], on_note=pytest.fail)
    trials.start("a", KnownPoint({"ratio": 0.25}))
    trials.complete("a", KnownPoint({"ratio": 0.25}, [0.5]), {})
    trials.fail("b", KnownPoint({"ratio": 0.75}), "out of memory")
    found = optuna.load_study(study_name="ratio", storage=behind).trials
    assert [(one.state.name, one.params["ratio"]) for one in found] == [("COMPLETE", 0.25), ("FAIL", 0.75)]
    assert found[0].value == 0.5
    assert found[1].user_attrs["error"] == "out of memory"


def test_no_password_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPTUNA_STORAGE", "nosuch://me:secret@host/name")
    with pytest.raises(StudyError) as raised:
        opened(tmp_path)
    assert "secret" not in str(raised.value)
