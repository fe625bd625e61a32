"""The server behind ``pgsbench ui``: what is said and started, without starting it."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from fake_study import MakeStudy, Seen

from pgsbench.errors import RunError
from pgsbench.tracking import mlflow_server
from pgsbench.tracking.mirror import Mirror
from pgsbench.tracking.mlflow_server import serve, server_command, server_environment
from pgsbench.tracking.mlflow_store import database_path, resolve_uri


def test_the_default_store_is_mlflows_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    assert resolve_uri() == f"sqlite:///{tmp_path}/mlflow.db"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://somewhere:5000")
    assert resolve_uri() == "http://somewhere:5000"
    assert resolve_uri("sqlite:///a%20b.db?timeout=9") == f"sqlite:///{tmp_path}/a b.db?timeout=9"
    assert database_path("http://somewhere:5000") is None


def test_each_study_is_linked_to_its_page(
    tmp_path: Path, make_study: MakeStudy, new_store: Callable[[str], str]
) -> None:
    folder, uri = make_study(tmp_path, steps=1), new_store("store")
    Mirror(uri).sync_study(folder)
    page = Seen(uri).runs["ratio"].info
    (line,) = mlflow_server._links(uri, "http://localhost:5000")
    address = f"http://localhost:5000/#/experiments/{page.experiment_id}/runs/{page.run_id}"
    assert line.startswith(f"  ratio: {address}")


def test_no_password_is_said_or_stands_in_a_command_line(monkeypatch: pytest.MonkeyPatch) -> None:
    uri, said = "postgresql://me:secret@127.0.0.1:9/mlflow", list[str]()
    assert server_environment(uri)["MLFLOW_BACKEND_STORE_URI"] == uri
    assert "secret" not in " ".join(server_command(5000))
    command = [sys.executable, "-c", "raise SystemExit(1)"]
    monkeypatch.setattr(mlflow_server, "server_command", lambda _: command)
    with pytest.raises(RunError, match="did not start") as raised:
        serve(port=9, tracking_uri=uri, say=said.append)
    serve(tracking_uri="http://me:secret@127.0.0.1:9", say=said.append)
    assert "MLflow runs at http://me:***@127.0.0.1:9" in said[-1]
    assert "secret" not in " ".join([*said, str(raised.value)])
