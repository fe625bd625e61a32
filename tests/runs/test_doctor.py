"""What `doctor` finds on a machine with a trap is that trap, with its remedy."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from pgsbench.doctor import checks, machine, stores
from pgsbench.doctor.machine import OK, PROBLEM, WARNING, Check


@pytest.fixture(autouse=True)
def without_network(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    for variable in ("OPTUNA_STORAGE", "MLFLOW_TRACKING_URI"):
        monkeypatch.delenv(variable, raising=False)


def find(what: str, found: Iterator[Check]) -> Check:
    return next(check for check in found if check.what.startswith(what))


def test_here_nothing_will_go_wrong_and_every_warning_has_a_remedy(tmp_path: Path) -> None:
    found = list(checks(tmp_path))
    assert not [check for check in found if check.state == PROBLEM]
    assert all(bool(check.remedy) == (check.state != OK) for check in found)
    assert not list(tmp_path.iterdir())  # looking leaves nothing behind
    assert find("network", iter(found)).state == WARNING  # the tests set HF_HUB_OFFLINE


def test_more_threads_than_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "4096")
    found = find("OMP_NUM_THREADS", machine.processor())
    assert found.state == WARNING
    assert "export OMP_NUM_THREADS=" in found.remedy
    monkeypatch.delenv("OMP_NUM_THREADS")
    assert find("OMP_NUM_THREADS", machine.processor()).state == OK


def test_a_folder_that_cannot_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("PGSBENCH_DATA", str(tmp_path / "file" / "data"))
    found = find("data", machine.folders(tmp_path))
    assert found.state == PROBLEM
    assert "PGSBENCH_DATA=DIR" in found.remedy
    assert find("runs", machine.folders(tmp_path / "file")).state == PROBLEM


def test_a_full_and_a_slow_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = machine.shutil.disk_usage(tmp_path)
    monkeypatch.setattr(machine.shutil, "disk_usage", lambda _: usage._replace(free=100 << 20))
    assert find("runs", machine.folders(tmp_path)).state == PROBLEM
    monkeypatch.setattr(machine.shutil, "disk_usage", lambda _: usage._replace(free=2 << 30))
    assert find("runs", machine.folders(tmp_path)).state == WARNING
    monkeypatch.setattr(machine.shutil, "disk_usage", lambda _: usage._replace(free=99 << 30))
    monkeypatch.setattr(machine, "SLOW_SECONDS", -1.0)
    assert "slow" in find("runs", machine.folders(tmp_path)).remedy
    monkeypatch.setattr(machine, "_disk_kind", lambda _: "nfs4")
    assert "network disk" in find("runs", machine.folders(tmp_path)).remedy


def test_what_would_go_wrong_with_jobs_of_a_cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(stores.shutil, "which", lambda name: None if name == "sbatch" else name)
    monkeypatch.setattr(stores, "find_spec", lambda _: True)
    assert not list(stores.cluster())
    (tmp_path / "cluster.yaml").write_text("profiles:\n  node: {gpus: 8, again: smal}\n  small: {gpus: 1}\n")
    (found,) = stores.cluster()
    assert (found.state, "again must name" in found.found) == (PROBLEM, True)
    (tmp_path / "cluster.yaml").write_text("profiles:\n  node: {gpus: 8}\n")
    (found,) = stores.cluster()
    assert (found.state, "no sbatch here" in found.found) == (PROBLEM, True)
    monkeypatch.setattr(stores.shutil, "which", lambda name: name)
    (found,) = stores.cluster()
    assert found.state == OK
    monkeypatch.setattr(stores, "find_spec", lambda _: None)
    (found,) = stores.cluster()
    assert "pip install" in found.remedy


def test_a_store_that_does_not_answer_is_named_without_its_password(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://me:secret@127.0.0.1:{port}")
        assert find("MLflow", stores.stores()).state == OK
    found = find("MLflow", stores.stores())
    assert found.state == PROBLEM
    assert "secret" not in found.found


@pytest.mark.parametrize(
    ("url", "remedy"),
    [("postgresql+nodriver://h/n", "pip install"), ("postgresql://h/n", "postgresql+psycopg://")],
)
def test_a_database_without_its_driver(monkeypatch: pytest.MonkeyPatch, url: str, remedy: str) -> None:
    monkeypatch.setattr(stores, "find_spec", lambda _: None)
    monkeypatch.setenv("OPTUNA_STORAGE", url)
    found = find("Optuna", stores.stores())
    assert found.state == PROBLEM
    assert remedy in found.remedy


def test_a_store_that_is_no_database(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert "not made yet" in find("MLflow", stores.stores()).found
    Path("mlflow.db").write_text("half a page of text")
    found = find("MLflow", stores.stores())
    assert found.state == PROBLEM
    assert "no SQLite file" in found.found


def test_clip_benchmarks_own_accuracy_on_a_numpy_that_it_does_not_know(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    versions = {"numpy": "2.4.1", "clip_benchmark": "1.6.2"}
    monkeypatch.setattr(machine, "_version", lambda name: versions.get(name, "1.0"))
    assert find("clip_benchmark", machine.versions()).state == WARNING
    versions["numpy"] = "2.3.5"
    assert find("clip_benchmark", machine.versions()).state == OK


def test_a_package_that_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "_version", lambda name: "" if name == "optuna" else "1.0")
    found = find("packages", machine.versions())
    assert (found.state, found.remedy) == (PROBLEM, "pip install optuna")


@pytest.mark.skipif(not Path("/dev/shm").is_dir(), reason="no shared memory as a folder here")
def test_small_shared_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "SHARED_MEMORY_GIB", float("inf"))
    assert "--shm-size" in find("shared memory", machine.folders(tmp_path)).remedy


def test_a_busy_processor(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "getloadavg", lambda: (500.0, 0.0, 0.0))
    assert find("load", machine.processor()).state == WARNING
