"""The server behind ``pgsbench ui``: what is started and what is said, without starting it."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from pgsbench.errors import RunError
from pgsbench.tracking.store import database_path, resolve_uri
from pgsbench.tracking.ui import Server, serve


def test_the_default_store_is_mlflows_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    assert resolve_uri() == f"sqlite:///{tmp_path}/mlflow.db"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://somewhere:5000")
    assert resolve_uri() == "http://somewhere:5000"
    assert resolve_uri("sqlite:///a%20b.db") == f"sqlite:///{tmp_path}/a b.db"
    assert resolve_uri("sqlite:///a b.db?timeout=9") == f"sqlite:///{tmp_path}/a b.db?timeout=9"
    assert database_path("http://somewhere:5000") is None


def test_a_local_server_keeps_mlflows_host_check(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLFLOW_SERVER_ALLOWED_HOSTS", raising=False)
    command = Server("sqlite:////x/mlflow.db").command()
    assert command[1:] == [
        *["-m", "mlflow", "server", "--backend-store-uri", "sqlite:////x/mlflow.db"],
        *["--host", "127.0.0.1", "--port", "5000", "--workers", "1", "--uvicorn-opts", "--log-level warning"],
    ]


def test_an_open_server_answers_to_its_names(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLFLOW_SERVER_ALLOWED_HOSTS", raising=False)
    server = Server("sqlite:////x/mlflow.db", host="0.0.0.0", port=5001)
    command = server.command()
    hosts = command[command.index("--allowed-hosts") + 1].split(",")
    assert {"localhost:5001", f"{socket.gethostname()}:5001"} <= set(hosts)
    origins = command[command.index("--cors-allowed-origins") + 1].split(",")
    assert {f"{scheme}://{socket.gethostname()}:5001" for scheme in ("http", "https")} <= set(origins)
    assert server.address == f"http://{socket.gethostname()}:5001"


def test_the_users_own_host_list_wins(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_SERVER_ALLOWED_HOSTS", "lab.example.org")
    assert "--allowed-hosts" not in Server("sqlite:////x/mlflow.db", host="0.0.0.0").command()


def test_a_remote_server_is_only_named() -> None:
    said: list[str] = []
    serve(tracking_uri="https://mlflow.example.org", say=said.append)
    assert said == ["MLflow runs at https://mlflow.example.org"]


def test_a_taken_port_names_another(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(RunError, match=f"pgsbench ui --port {port + 1}"):
            serve(port=port, tracking_uri=f"sqlite:///{tmp_path}/mlflow.db")
    assert not list(tmp_path.iterdir())
