"""The server behind ``pgsbench ui``: what is started and what is said, without starting it."""

from __future__ import annotations

import socket
import sys
from pathlib import Path

import pytest

from pgsbench.errors import RunError
from pgsbench.tracking import mlflow_server
from pgsbench.tracking.mlflow_server import Server, serve
from pgsbench.tracking.mlflow_store import database_path, resolve_uri


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
    server = Server("sqlite:////x/mlflow.db")
    assert server.environment()["MLFLOW_BACKEND_STORE_URI"] == "sqlite:////x/mlflow.db"
    assert server.command()[1:] == [
        *["-m", "mlflow", "server"],
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


@pytest.mark.parametrize("port", [0, -1, 65536, 99999])
def test_a_port_that_does_not_exist_is_said(tmp_path: Path, port: int) -> None:
    with pytest.raises(RunError, match="--port: a port is a number from 1 to 65535"):
        serve(port=port, tracking_uri=f"sqlite:///{tmp_path}/mlflow.db")


@pytest.mark.parametrize("host", ["203.0.113.7", "no-such-host.invalid"])
def test_a_host_that_is_not_this_machine_is_said(tmp_path: Path, host: str) -> None:
    with pytest.raises(RunError, match="--host: this is no address of this machine"):
        serve(host=host, tracking_uri=f"sqlite:///{tmp_path}/mlflow.db")


@pytest.mark.parametrize(("host", "warned"), [("127.0.0.1", False), ("0.0.0.0", True)])
def test_an_open_server_says_what_that_means(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, host: str, warned: bool
) -> None:
    monkeypatch.setattr(Server, "command", lambda _: [sys.executable, "-c", "raise SystemExit(1)"])
    said: list[str] = []
    with pytest.raises(RunError, match="did not start"):
        serve(host=host, port=free_port(), tracking_uri=f"sqlite:///{tmp_path}/mlflow.db", say=said.append)
    assert (
        any("anyone who can reach this machine can read, change and delete" in line for line in said)
        is warned
    )


def test_no_password_is_said_or_stands_in_a_command_line(monkeypatch: pytest.MonkeyPatch) -> None:
    uri, said = "postgresql://me:secret@host/mlflow", []
    monkeypatch.setattr(mlflow_server, "_links", lambda _: [])
    monkeypatch.setattr(Server, "environment", lambda _: {})
    started: list[str] = []
    command = Server.command

    def spied(server: Server) -> list[str]:
        started.extend(command(server))
        return [sys.executable, "-c", "raise SystemExit(1)"]

    monkeypatch.setattr(Server, "command", spied)
    with pytest.raises(RunError) as raised:
        serve(port=free_port(), tracking_uri=uri, say=said.append)
    serve(tracking_uri="https://me:secret@mlflow.example.org", say=said.append)
    assert said[-1] == "MLflow runs at https://me:***@mlflow.example.org"
    assert "secret" not in " ".join([*said, *started, str(raised.value)])


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
