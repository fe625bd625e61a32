"""What `doctor` finds on a machine with a trap is that trap, with its remedy."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from pgsbench import doctor
from pgsbench.doctor import OK, PROBLEM, WARNING, Check, gpu, gpu_checks
from pgsbench.errors import ConfigError, RunError


@pytest.fixture(autouse=True)
def without_network(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    for variable in ("MLFLOW_TRACKING_URI",):
        monkeypatch.delenv(variable, raising=False)


def find(what: str, found: Iterator[Check]) -> Check:
    return next(check for check in found if check.what.startswith(what))


def test_more_threads_than_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "4096")
    found = find("OMP_NUM_THREADS", doctor.threads())
    assert found.state == WARNING
    assert "export OMP_NUM_THREADS=" in found.remedy
    monkeypatch.delenv("OMP_NUM_THREADS")
    assert find("OMP_NUM_THREADS", doctor.threads()).state == OK


def test_a_folder_that_cannot_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("PGSBENCH_DATA", str(tmp_path / "file" / "data"))
    found = find("data", doctor.folders(tmp_path))
    assert found.state == PROBLEM
    assert "PGSBENCH_DATA=DIR" in found.remedy
    assert find("runs", doctor.folders(tmp_path / "file")).state == PROBLEM


def test_a_full_disk_and_one_on_the_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = doctor.shutil.disk_usage(tmp_path)
    monkeypatch.setattr(doctor.shutil, "disk_usage", lambda _: usage._replace(free=100 << 20))
    assert find("runs", doctor.folders(tmp_path)).state == PROBLEM
    monkeypatch.setattr(doctor.shutil, "disk_usage", lambda _: usage._replace(free=2 << 30))
    assert find("runs", doctor.folders(tmp_path)).state == WARNING
    monkeypatch.setattr(doctor.shutil, "disk_usage", lambda _: usage._replace(free=99 << 30))
    monkeypatch.setattr(doctor, "_disk_kind", lambda _: "nfs4")
    assert "network disk" in find("runs", doctor.folders(tmp_path)).remedy


def test_what_would_go_wrong_with_jobs_of_a_cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(doctor.shutil, "which", lambda name: None if name == "sbatch" else name)
    monkeypatch.setattr(doctor, "find_spec", lambda _: True)
    assert not list(doctor.cluster())
    (tmp_path / "cluster.yaml").write_text("node: 8 GPUs\n")
    (found,) = doctor.cluster()
    assert (found.state, "each entry is a profile" in found.found) == (PROBLEM, True)
    (tmp_path / "cluster.yaml").write_text("node: {gpus_per_node: 8}\n")
    (found,) = doctor.cluster()
    assert (found.state, "no sbatch here" in found.found) == (PROBLEM, True)
    monkeypatch.setattr(doctor.shutil, "which", lambda name: name)
    (found,) = doctor.cluster()
    assert found.state == OK
    monkeypatch.setattr(doctor, "find_spec", lambda _: None)
    (found,) = doctor.cluster()
    assert "pip install" in found.remedy


def test_a_store_that_does_not_answer_is_named_without_its_password(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://me:secret@127.0.0.1:{port}")
        assert doctor.tracking().state == OK
    found = doctor.tracking()
    assert found.state == PROBLEM
    assert "secret" not in found.found


def test_a_database_that_cannot_be_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "text.db").write_text("no database, and long enough to be none\n" * 9)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/text.db")
    assert doctor.tracking().state == PROBLEM
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/none.db")
    assert doctor.tracking().state == OK


def test_a_gpu_is_looked_at_by_a_few_steps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = list(gpu.checks("cpu", model="tiny-vit", batch_size=8))  # as there is none
    assert [check.state for check in found] == [OK] * 8
    assert [check.what for check in found[1:5]] == [
        f"{one}, tiny-vit" for one in ("fp32", "bf16", "fp16", "none")
    ]
    assert all("pairs/s in steps of" in check.found for check in found[1:])
    assert json.loads(gpu.write(tmp_path, found).read_text())[0]["found"] == "of 64 pictures as on the CPU"
    kept, calls = gpu._kept, iter(range(9))
    monkeypatch.setattr(gpu, "_kept", lambda name, device: kept(name, device) + next(calls))
    other = next(gpu.checks("cpu"))
    assert (other.state, other.remedy) == (PROBLEM, f"send {gpu.FILE}")


def test_a_loss_that_is_not_finite_and_memory_that_runs_out_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(error: Exception) -> Check:
        def seconds(*_: object) -> None:
            raise error

        monkeypatch.setattr(gpu.Estimator, "seconds", seconds)
        return gpu._timed("steps", "cpu", "tiny-vit", "none", 8, "fp32")

    assert fails(RunError("the loss is no longer finite")).state == PROBLEM
    assert fails(MemoryError("out of memory")).state == WARNING


def test_without_a_gpu_nothing_is_looked_at() -> None:
    if not torch.cuda.is_available():
        with pytest.raises(ConfigError, match="no such device"):
            gpu_checks()
