"""Profiles, and jobs of SLURM as far as they can be tried without one; `test_real_slurm.py` has one."""

from __future__ import annotations

import pickle
import signal
import subprocess
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from tinyworld import TinyWorld

from pgsbench.errors import ConfigError, Interrupted, RunError, StudyError, UserError
from pgsbench.execution import slurm, slurm_job
from pgsbench.execution.slurm import SlurmEngine, SlurmExecutor, read_profile
from pgsbench.execution.slurm_job import RunJob
from pgsbench.records.run_records import Job
from pgsbench.session.opening import work_on
from pgsbench.study.open import open_study_file
from pgsbench.tracking.rundir import RunDir

PROFILES = """
cpu: {slurm_partition: main, cpus_per_task: 2, timeout_min: 20}
gpus: {gpus_per_node: 8, cpus_per_task: 16}
nodes: {nodes: 2, tasks_per_node: 4, gpus_per_node: 4}
uneven: {nodes: 2, tasks_per_node: 2, gpus_per_node: 4}
two: {tasks_per_node: 2}
"""


@pytest.fixture(autouse=True)
def profiles(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "cluster.yaml"
    path.write_text(PROFILES)
    monkeypatch.setenv("PGSBENCH_CLUSTER", str(path))
    return path


@pytest.mark.parametrize(
    ("name", "devices_per_run", "device", "together", "threads"),
    [
        ("cpu", 1, "cpu", 1, 2),
        ("cpu", 2, "cpu", 2, 1),
        ("gpus", 1, "cuda", 8, 2),
        ("gpus", 8, "cuda", 8, 2),
        ("nodes", 1, "cuda", 8, 1),
        ("two", 1, "cpu", 2, 1),
    ],
)
def test_the_profile_says_on_what_a_run_is_trained(
    tiny: TinyWorld,
    tmp_path: Path,
    name: str,
    devices_per_run: int,
    device: str,
    together: int,
    threads: int,
) -> None:
    study = open_study_file(tiny.study, overrides=[f"devices_per_run={devices_per_run}", "search=null"])
    engine = SlurmEngine(read_profile(name), study.config, tmp_path)
    assert (engine.slots.device_type, engine._num_devices, engine.slots.threads) == (
        device,
        together,
        threads,
    )
    assert not engine.slots.are_here


@pytest.mark.parametrize(
    ("on", "overrides", "said"),
    [
        ("slurm:none", [], "no such profile"),
        ("slurm:uneven", [], "has one for each GPU"),
        ("slurm:gpus", ["devices_per_run=4"], "trains a run on 8 devices"),
        ("slurm:two", ["budget={equal: seconds, amount: 5}", "training={batch_size: 16}"], "times its runs"),
        ("pbs", [], "no such engine"),
        ("dask:", [], "no such engine"),
    ],
)
def test_what_does_not_fit_is_named(
    tiny: TinyWorld, tmp_path: Path, on: str, overrides: list[str], said: str
) -> None:
    if any("budget" in one for one in overrides):
        study = tmp_path / "timed.yaml"
        study.write_text(tiny.study.read_text().replace("samples: 96, ", "").replace("search:", "#"))
        file = open_study_file(study, overrides=overrides[:1])
    else:
        file = open_study_file(tiny.study, overrides=overrides)
    with pytest.raises(UserError, match=said):
        work_on(file, output=tmp_path, on=on)


@pytest.mark.parametrize("text", ["", "- one", "one: main", "one: {a: [}"])
def test_a_file_that_is_none_is_named(profiles: Path, text: str) -> None:
    profiles.write_text(text)
    with pytest.raises(ConfigError, match=r"cluster\.yaml"):
        read_profile()


def test_a_parameter_that_submitit_does_not_know_is_named(
    profiles: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import submitit

    monkeypatch.setattr(submitit.SlurmExecutor, "affinity", classmethod(lambda _: 1))
    for text, said in (("slurm_partitoin: main", "slurm_partitoin"), ("timeout_min: soon", "timeout_min")):
        profiles.write_text(f"one: {{{text}}}")
        with pytest.raises(ConfigError, match=said):
            SlurmExecutor(read_profile(), tmp_path, "tiny")


def test_a_future_ends_when_its_job_is_gone_for_a_while(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(slurm, "WAIT_SECONDS", 0.01)
    monkeypatch.setattr(slurm, "GONE_SECONDS", 0.05)
    answers: list[Any] = [{"7", "8"}, None, {"8"}, {"7", "8"}]  # SLURM may not answer, or not know for once
    monkeypatch.setattr(slurm, "known_jobs", lambda: answers.pop(0) if answers else set())
    import submitit

    monkeypatch.setattr(submitit.SlurmExecutor, "affinity", classmethod(lambda _: 1))
    executor = SlurmExecutor(read_profile("cpu"), tmp_path, "tiny")
    (tmp_path / "7_0_result.pkl").write_bytes(pickle.dumps(("success", "done")))
    (tmp_path / "8_0_log.out").write_text("its last words")
    well, dead = (executor.future_of(Job(name, str(tmp_path))) for name in "78")
    assert well.exception(timeout=10) is None
    error = dead.exception(timeout=10)
    assert isinstance(error, RunError)
    assert "its job ended without a word: its last words" in str(error)
    executor.shutdown()


@pytest.mark.parametrize(
    ("number", "is_queued_again"), [(signal.SIGUSR2, True), (signal.SIGUSR1, True), (signal.SIGTERM, False)]
)
def test_before_its_limit_a_job_saves_and_is_queued_again(
    monkeypatch: pytest.MonkeyPatch, number: int, is_queued_again: bool
) -> None:
    asked: list[list[str]] = []
    before = {one: signal.getsignal(one) for one in (signal.SIGUSR1, signal.SIGUSR2, signal.SIGTERM)}
    monkeypatch.setattr(slurm_job.subprocess, "run", lambda command, **_: asked.append(command))
    monkeypatch.setattr(slurm_job.os, "_exit", lambda code: asked.append([str(code)]))
    monkeypatch.setenv("SLURM_JOB_ID", "7")

    def train(self: RunJob, stop: Any) -> None:
        signal.raise_signal(number)
        assert stop.is_set()
        raise Interrupted

    monkeypatch.setattr(RunJob, "_train", train)
    try:
        assert RunJob("runs/tiny/run", "cpu", 1)() == "saved"
    finally:
        for one, handler in before.items():
            signal.signal(one, handler)
    assert asked == ([["scontrol", "requeue", "7"], ["0"]] if is_queued_again else [])


def test_jobs_that_an_earlier_command_submitted_are_found_again(
    tiny: TinyWorld, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = open_study_file(tiny.study, overrides=["search=null", "arms={}"])
    engine = SlurmEngine(read_profile("cpu"), study.config, tmp_path)
    run = RunDir(tmp_path / "run")
    assert engine.found(run) is None
    run.give_to(Job("7", str(tmp_path)))
    engine._executor = SimpleNamespace(future_of=lambda job: f"future of {job.id}")  # type: ignore[assignment]
    monkeypatch.setattr(slurm, "WAIT_SECONDS", 0.0)
    for known, expected in (({"7"}, "future of 7"), ({"8"}, None)):
        monkeypatch.setattr(slurm, "known_jobs", lambda known=known: known)
        assert engine.found(run) == expected
    monkeypatch.setattr(slurm, "known_jobs", lambda: None)
    with pytest.raises(StudyError, match="squeue does not answer"):
        engine.found(run)


def test_without_squeue_nothing_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: (_ for _ in ()).throw(FileNotFoundError()))
    assert slurm.known_jobs() is None
