"""Runs as jobs of a cluster: what a job asks for, what it does on signals, and a real SLURM of one node."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import test_search
from tinyworld import TinyWorld
from typer.testing import CliRunner

from pgsbench import comparing, experiment, jobs, session, workers
from pgsbench.cli.app import app
from pgsbench.config.cluster import Profile, read_profile
from pgsbench.errors import ConfigError, DataError, Interrupted, StudyError
from pgsbench.execution import slurm
from pgsbench.execution.folder import StudyFolder
from pgsbench.execution.runs import Watcher
from pgsbench.jobs import RunJob
from pgsbench.records import files
from pgsbench.records.marks import Failure, Marks, Queued
from pgsbench.study.open import open_study_file
from pgsbench.study.plan import Planner
from pgsbench.tracking.rundir import RunDir

submitit = pytest.importorskip("submitit")


@pytest.fixture
def cluster_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "cluster.yaml"
    monkeypatch.setenv("PGSBENCH_CLUSTER", str(path))
    path.write_text(
        "profiles:\n  small: {partition: main, minutes: 20, save_seconds: 30}\n"
        "  big: {gpus: 1, cpus: 4, account: vision, setup: [module load cuda], parallel: 3}\n"
    )
    return path


def planned(tiny: TinyWorld, output: Path) -> StudyFolder:
    study = open_study_file(tiny.study, overrides=["search=null", "arms={}"])
    folder = StudyFolder.open(Planner(study), output / "runs")
    folder.add(folder.planner.specs(["pgs"]))
    return folder


def test_profiles_are_read_and_their_mistakes_named(cluster_file: Path) -> None:
    assert read_profile() == Profile(partition="main", minutes=20, save_seconds=30)
    assert read_profile("big").device == "cuda"
    with pytest.raises(ConfigError, match="did you mean 'small'"):
        read_profile("smal")
    cluster_file.write_text("profiles:\n  small: {minuts: 1}\n")
    with pytest.raises(ConfigError, match=r"cluster.yaml:2: profiles\.small\.minuts"):
        read_profile()
    cluster_file.unlink()
    with pytest.raises(ConfigError, match="needs a file that says what jobs ask for"):
        read_profile()


def test_a_profile_becomes_a_jobs_script(cluster_file: Path, tmp_path: Path) -> None:
    asked = slurm._parameters(read_profile("big"), "ratio")
    executor = submitit.AutoExecutor(folder=tmp_path / "jobs", cluster="debug")
    executor.update_parameters(**asked)  # every name is one that submitit knows
    named = {
        key.removeprefix("slurm_"): value
        for key, value in asked.items()
        if key not in ("timeout_min", "mem_gb")
    }
    text = submitit.slurm.slurm._make_sbatch_string(
        command="true", folder=tmp_path, job_name=named.pop("name"), time=60, map_count=9, **named
    )
    for line in ("--array=0-8%3", "--account=vision", "--signal=USR1@90", "--cpus-per-task=4", "--requeue"):
        assert f"#SBATCH {line}\n" in text
    assert "module load cuda" in text


def test_a_job_reads_its_spec_when_it_starts_and_marks_what_fails(
    tiny: TinyWorld, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, seen = planned(tiny, tmp_path), []

    def run(spec: Any, **_: object) -> None:
        seen.append(spec)
        raise DataError("no such shard")

    monkeypatch.setattr(experiment, "run_once", run)
    monkeypatch.setattr(jobs.Signals, "listen", lambda *_, **__: None)
    job = RunJob(str(tmp_path), "tiny", "pgs s0", "cpu", 1)
    with pytest.raises(DataError):
        job()
    assert seen == [folder.runs["pgs s0"].spec]
    failure = folder.marks.failure(seen[0].id)
    assert failure is not None
    assert failure.error == "no such shard"
    folder.marks.cancel()
    assert job() == "not asked for any more"
    folder.marks.go_on()
    assert RunJob(str(tmp_path), "tiny", "gone s0", "cpu", 1)() == "not asked for any more"


@pytest.mark.parametrize(("number", "again"), [(signal.SIGUSR1, 1), (signal.SIGTERM, 0)])
def test_before_its_limit_a_job_saves_and_is_queued_again(
    tiny: TinyWorld, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, again: int
) -> None:
    planned(tiny, tmp_path)
    before = {one: signal.getsignal(one) for one in (signal.SIGUSR1, signal.SIGUSR2, signal.SIGTERM)}
    queued: list[int] = []
    monkeypatch.setattr(jobs, "queue_again", lambda: queued.append(1))

    def run(spec: object, *, should_stop: Any, **_: object) -> None:
        assert not should_stop()
        os.kill(os.getpid(), number)
        assert should_stop()
        raise Interrupted

    monkeypatch.setattr(experiment, "run_once", run)
    try:
        assert RunJob(str(tmp_path), "tiny", "pgs s0", "cpu", 1)() == "saved"
    finally:
        for one, handler in before.items():
            signal.signal(one, handler)
    assert len(queued) == again


def test_a_job_that_is_gone_without_a_word_is_a_failed_run_with_the_end_of_its_output(
    tiny: TinyWorld, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = planned(tiny, tmp_path)
    (spec,) = [run.spec for run in folder.runs.values()]
    (tmp_path / "log").mkdir()
    (tmp_path / "log/7_0_log.out").write_text("slurmstepd: error: Detected 1 oom_kill event\n")
    folder.marks.queue(spec.id, Queued("7", str(tmp_path / "log")))
    monkeypatch.setattr(slurm, "known_jobs", set)
    monkeypatch.setattr(slurm, "GONE_SECONDS", 0.05)
    monkeypatch.setattr(slurm, "WAIT_SECONDS", 0.02)
    ((_, error),) = slurm.wait_for(folder, [spec], Watcher())
    assert "oom_kill" in str(error)
    assert isinstance(folder.marks.failure(spec.id), Failure)


def test_a_search_that_samples_is_waited_for_until_its_jobs_are_gone(
    tiny: TinyWorld, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, asked = planned(tiny, tmp_path), []
    (spec,) = [run.spec for run in folder.runs.values()]

    def known() -> set[str] | None:
        asked.append(1)
        if len(asked) == 3:  # its job has taken the run, and now it is over
            folder.marks.fail(spec.id, Failure("no such shard"))
        return [{"7_0"}, None, {"8"}][len(asked) - 1]

    monkeypatch.setattr(slurm, "known_jobs", known)
    monkeypatch.setattr(slurm, "WAIT_SECONDS", 0.01)
    ((_, error),) = slurm.wait_for_jobs(folder, ["7_0"], Watcher())
    assert "no such shard" in str(error)


def test_seeds_are_added_by_jobs_until_a_comparison_is_decided(
    tiny: TinyWorld, tmp_path: Path, cluster_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    submitted: list[str] = []

    def submit(jobs: Any, *_: object, **__: object) -> list[str]:
        submitted.extend(job.run for job in jobs)
        return [str(number) for number, _ in enumerate(jobs)]

    def wait(folder: StudyFolder, specs: Any, _: Watcher) -> list[Any]:
        for spec in specs:  # as if its job had run
            test_search.finish(folder, spec, 0.5)
        return []

    monkeypatch.setattr(slurm, "submit", submit)
    monkeypatch.setattr(slurm, "wait_for", wait)
    monkeypatch.setattr(session.Study, "_finish", lambda self, **_: SimpleNamespace(statistics=None))
    monkeypatch.setattr(comparing, "decisions", lambda _: [SimpleNamespace(is_decided=len(submitted) > 6)])
    monkeypatch.setattr(comparing, "_said", str)
    study = workers.on_cluster(open_study_file(tiny.study), on="slurm", output=tmp_path)
    comparing.compare_until_decided(study, ["flip"])
    assert len(submitted) == len(set(submitted)) > 6
    assert study.beside(study.file).profile is study.profile


@pytest.mark.parametrize(
    ("command", "said"),
    [
        ("compare --baselines flip --until decided --detach --study", "it has to stay"),
        ("sweep --confirm 3 --detach", "it has to stay"),
        ("compare --baselines flip --until decided --on pbs --study", "no such engine"),
    ],
)
def test_what_cannot_be_left_to_others_is_refused(tiny: TinyWorld, command: str, said: str) -> None:
    done = CliRunner().invoke(app, [*command.split(), str(tiny.study)])
    assert isinstance(done.exception, ConfigError)
    assert said in str(done.exception)


def test_a_refusal_is_explained(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(StudyError, match="SLURM took no jobs"):
        slurm.submit([print], Profile(), tmp_path, name="x")


# ------------------------------------------------------------------------------------------- a real SLURM

CONFIG = """ClusterName=test
SlurmctldHost=localhost
AuthType=auth/munge
AuthInfo=cred_expire=10
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
StateSaveLocation={0}/state
SlurmdSpoolDir={0}/spool
SlurmctldPidFile={0}/ctld.pid
SlurmdPidFile={0}/d.pid
SlurmctldLogFile={0}/ctld.log
SlurmdLogFile={0}/d.log
SlurmUser=root
SlurmctldPort={1}
SlurmdPort={2}
MpiDefault=none
ReturnToService=2
MinJobAge=300
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
SchedulerParameters=bf_interval=5,sched_interval=5
NodeName=localhost CPUs=2 RealMemory=2000 State=UNKNOWN
PartitionName=main Nodes=ALL Default=YES MaxTime=INFINITE State=UP GraceTime=100
PartitionName=urgent Nodes=ALL MaxTime=INFINITE State=UP PriorityTier=10 PreemptMode=OFF
"""
NEEDED = ("slurmctld", "slurmd", "sbatch", "munged", "runuser")


@pytest.fixture(scope="module")
def real_slurm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """One node, its daemons on loopback with folders of their own; gives their folder."""
    places = os.pathsep.join([os.environ["PATH"], "/usr/sbin"])
    if missing := [name for name in NEEDED if shutil.which(name, path=places) is None]:
        pytest.skip(f"no SLURM here ({', '.join(missing)}; Debian: apt-get install slurm-wlm munge)")
    if os.getuid() != 0:
        pytest.skip("SLURM's daemons are started by root")
    folder = tmp_path_factory.mktemp("slurm")
    for name in ("state", "spool"):
        (folder / name).mkdir()
    port = 20000 + os.getpid() % 20000
    (folder / "slurm.conf").write_text(CONFIG.format(folder, port, port + 1))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PATH", places)
        patch.setenv("PYTHONPATH", os.pathsep.join(sys.path))  # jobs import what this file defines
        patch.setenv("SLURM_CONF", str(folder / "slurm.conf"))
        if subprocess.run(["munge", "-n"], capture_output=True).returncode:
            for name in ("/run/munge", "/var/log/munge", "/var/lib/munge", "/etc/munge"):
                Path(name).mkdir(exist_ok=True)
                subprocess.run(["chown", "-R", "munge", name], check=True)
            subprocess.run(["runuser", "-u", "munge", "--", "munged", "--force"], check=True)
        subprocess.run(["slurmctld", "-f", str(folder / "slurm.conf")], check=True)
        subprocess.run(["slurmd", "-f", str(folder / "slurm.conf"), "-N", "localhost"], check=True)
        until = time.monotonic() + 60
        while "idle" not in subprocess.run(["sinfo", "-h"], capture_output=True, text=True).stdout:
            if time.monotonic() > until:
                pytest.skip(f"SLURM did not start: {(folder / 'ctld.log').read_text()[-500:]}")
            time.sleep(0.5)
        try:
            yield folder
        finally:
            for name in ("d.pid", "ctld.pid"):
                os.kill(int((folder / name).read_text()), signal.SIGTERM)


@pytest.mark.slow
@pytest.mark.timeout(1500)
def test_a_study_on_slurm_is_the_same_to_the_bit_and_a_limit_costs_nothing(
    tiny: TinyWorld, tmp_path: Path, real_slurm: Path, cluster_file: Path
) -> None:
    """One job is sent its signal in the middle of a training, is queued again and goes on."""
    study = ["--set", "training.samples=3200", "--set", "name=tiny", "--arm", "pgs", "--arm", "none"]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}

    def pgsbench(*words: str) -> str:
        command = [sys.executable, "-m", "pgsbench", *words]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, env=environment)
        assert done.returncode == 0, done.stderr
        return done.stdout

    out = pgsbench("train", str(tiny.study), *study, "--output", "there", "--on", "slurm", "--detach")
    assert "2 runs are missing, 2 jobs submitted" in out
    root, sent = tmp_path / "there/runs", False
    until = time.monotonic() + 1200
    while len(list(root.glob("tiny/*/DONE"))) < 2 and time.monotonic() < until:
        for metrics in root.glob("tiny/pgs-*/metrics.jsonl"):
            if not sent and RunDir(metrics.parent).last_step() > 3:
                (queued,) = [Marks(root / "tiny").queued(RunDir(metrics.parent).spec.id)]
                assert queued is not None
                subprocess.run(["scancel", "--signal=USR1", queued.job], check=True)
                sent = True
        time.sleep(0.2)
    assert sent
    assert "2 done" in pgsbench("study", "status", "tiny", "--output", "there")
    (log,) = [text for path in root.rglob("*.out") if "REQUEUE" in (text := path.read_text())]
    assert log.count("Loading pickle") == 2  # it was queued again, and started anew
    pgsbench("train", str(tiny.study), *study, "--output", "here", "--jobs", "1")
    for path in (tmp_path / "here/runs").glob("tiny/*/checkpoints/model/*.safetensors"):
        other = root / path.relative_to(tmp_path / "here/runs")
        assert other.read_bytes() == path.read_bytes()


@pytest.mark.slow
@pytest.mark.timeout(1500)
def test_a_job_that_is_preempted_saves_and_goes_on_where_it_was(
    tiny: TinyWorld, tmp_path: Path, real_slurm: Path, cluster_file: Path
) -> None:
    study = open_study_file(tiny.study, overrides=["training.samples=4800", "search=null", "arms={}"])
    left = workers.leave(workers.on_cluster(study, on="slurm", output=tmp_path))
    run = RunDir(tmp_path / "runs" / left.missing[0].folder)
    wait_until(lambda: run.last_step() > 3)
    asked = ["sbatch", "-p", "urgent", "-n2", "--output", str(tmp_path / "urgent"), "--wrap", "date"]
    subprocess.run(asked, check=True, cwd=tmp_path)
    wait_until(lambda: (tmp_path / "urgent").is_file())
    assert not run.is_done
    lines = (run.path / files.METRICS).read_text()
    (state,) = run.state.iterdir()
    assert state.name == f"step-{run.last_step():08d}"  # it has saved, and lost no step
    wait_until(lambda: run.is_done)
    assert (run.path / files.METRICS).read_text().startswith(lines)
    wait_until(lambda: slurm.known_jobs() == set())
    assert not Marks(tmp_path / "runs/tiny").failure(left.missing[0].id)


def wait_until(is_so: Callable[[], bool], seconds: float = 600) -> None:
    until = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < until
        time.sleep(0.2)


@pytest.mark.slow
def test_a_job_that_fails_is_a_failed_run_and_one_that_is_cancelled_is_not_done(
    tiny: TinyWorld, tmp_path: Path, real_slurm: Path, cluster_file: Path
) -> None:
    folder = planned(tiny, tmp_path)
    (spec,) = [run.spec for run in folder.runs.values()]
    (job,) = slurm.submit([_die], read_profile(), folder.path, name="dies")
    folder.marks.queue(spec.id, Queued(job, str(folder.path / slurm.JOBS / job)))
    ((_, error),) = slurm.wait_for(folder, [spec], Watcher())
    assert "its last words" in str(error)
    (job,) = slurm.submit([_sleep], read_profile(), folder.path, name="sleeps")
    slurm.cancel([job])
    until = time.monotonic() + 60
    while job in (slurm.known_jobs() or ()) and time.monotonic() < until:
        time.sleep(0.5)
    assert job not in (slurm.known_jobs() or ())


def _die() -> None:
    print("its last words", flush=True)
    os.kill(os.getpid(), signal.SIGKILL)


def _sleep() -> None:
    time.sleep(600)
