"""How many devices of a cluster train a run together, and with how many it goes on after a limit."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest
from test_slurm import planned
from tinyworld import TinyWorld

from pgsbench.config.cluster_profiles import Profile, read_profile
from pgsbench.errors import ConfigError, Interrupted
from pgsbench.execution import slurm, together
from pgsbench.session import jobs, workers
from pgsbench.session.jobs import RunJob
from pgsbench.study.open import open_study_file


@pytest.fixture
def cluster_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("PGSBENCH_CLUSTER", str(tmp_path / "cluster.yaml"))
    return tmp_path / "cluster.yaml"


def test_the_profile_says_how_many_devices_train_a_run(
    tiny: TinyWorld, tmp_path: Path, cluster_file: Path
) -> None:
    cluster_file.write_text("profiles:\n  node: {gpus: 8, cpus: 64}\n  two: {processes: 2, cpus: 4}\n")
    study = open_study_file(tiny.study, overrides=["devices_per_run=2"])
    with pytest.raises(ConfigError, match="train a run, and that is 8") as raised:
        workers.on_cluster(study, on="slurm", output=tmp_path)
    assert (raised.value.where, raised.value.value) == ("devices_per_run", 2)
    slots = workers.on_cluster(study, on="slurm:two", output=tmp_path).slots
    assert (slots.device_type, slots.threads) == ("cpu", 2)
    assert slurm._parameters(read_profile("node"), "x")["gpus_per_node"] == 8


def test_a_profile_may_have_other_options_of_sbatch(cluster_file: Path) -> None:
    cluster_file.write_text(
        "profiles:\n  one: {options: {exclude: node7, exclusive: true, overcommit: false, nice: 3}}\n"
    )
    asked = slurm._parameters(read_profile(), "x")["slurm_additional_parameters"]
    assert asked == {"exclude": "node7", "exclusive": True, "nice": 3, "signal": "USR1@90", "requeue": True}


@pytest.mark.parametrize(
    ("profile", "said"),
    [
        ("{gpus: 2, processes: 2}", "one for each"),
        ("{processes: 2, cpus: 3}", "multiple of processes"),
        ("{gpus: 65}", "64"),
        ("{gpus: 8, again: tow}", "again must name one of the profiles"),
    ],
)
def test_devices_that_do_not_fit_are_named(cluster_file: Path, profile: str, said: str) -> None:
    cluster_file.write_text(f"profiles:\n  one: {profile}\n")
    with pytest.raises(ConfigError, match=said):
        read_profile()


@pytest.mark.parametrize("again", ["{gpus: 1}", "{processes: 2, cpus: 4}", "{cpus: 2}"])
def test_a_run_goes_on_with_the_arithmetic_that_it_began_with(
    tiny: TinyWorld, tmp_path: Path, cluster_file: Path, again: str
) -> None:
    cluster_file.write_text(f"profiles:\n  one: {{processes: 4, cpus: 4, again: other}}\n  other: {again}\n")
    with pytest.raises(ConfigError, match="arithmetic that it began with"):
        workers.on_cluster(open_study_file(tiny.study), on="slurm", output=tmp_path)


@pytest.mark.parametrize(("device", "devices"), [("cpu", ["cpu"] * 2), ("cuda", ["cuda:0", "cuda:1"])])
def test_a_job_can_be_several_processes_that_train_its_run_together(
    tiny: TinyWorld, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, device: str, devices: list[str]
) -> None:
    asked: list[Any] = []

    def run_together(spec: Any, root: Path, on: list[str], *, threads: int, stop: Any) -> None:
        asked.append((spec.name, on, threads, stop.is_set()))

    monkeypatch.setattr(jobs.Signals, "listen", lambda *_, **__: None)
    monkeypatch.setattr(together, "run_together", run_together)
    planned(tiny, tmp_path)
    assert RunJob(str(tmp_path), "tiny", "pgs s0", device, 3, num_devices=2)() == "done"
    assert asked == [("pgs s0", devices, 3, False)]


def test_the_processes_of_a_job_hear_that_they_shall_stop(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jobs, "LOOK_SECONDS", 0.01)
    asked = threading.Event()
    with jobs._event(asked.is_set) as stop:
        assert not stop.is_set()
        asked.set()
        assert stop.wait(60)


def test_after_its_limit_a_run_goes_on_at_the_size_that_the_profile_says(
    tiny: TinyWorld, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cluster_file: Path
) -> None:
    cluster_file.write_text("profiles:\n  four: {gpus: 4, again: one}\n  one: {gpus: 1, partition: spare}\n")
    folder, submitted = planned(tiny, tmp_path), []

    def submit(asked: Any, profile: Profile, *_: object, **__: object) -> list[str]:
        submitted.append((*asked, profile))
        return ["77"]

    def limit(self: jobs.Signals, **_: object) -> None:
        self.is_stopped = self.is_limit = True

    def stopped(*_: object) -> None:
        raise Interrupted

    monkeypatch.setattr(slurm, "submit", submit)
    monkeypatch.setattr(jobs.Signals, "listen", limit)
    monkeypatch.setattr(RunJob, "_train", stopped)
    job = RunJob(str(tmp_path), "tiny", "pgs s0", "cuda", 1, num_devices=4, again="one")
    assert job() == "saved"
    ((again, profile),) = submitted
    assert (again.run, again.num_devices, profile.partition) == ("pgs s0", 1, "spare")
    queued = folder.marks.queued(folder.runs["pgs s0"].spec.id)
    assert queued is not None
    assert queued.job == "77"
