"""A real SLURM of one node: limits, preemption, jobs that fail and jobs that are cancelled."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from test_slurm import planned
from tinyworld import HALF, TinyWorld

from pgsbench.config.cluster_profiles import read_profile
from pgsbench.execution import slurm
from pgsbench.execution.runs import Watcher
from pgsbench.records import files
from pgsbench.records.marks import Marks, Queued
from pgsbench.session import workers
from pgsbench.session.study import work_on
from pgsbench.study.open import open_study_file
from pgsbench.tracking.rundir import RunDir

pytest.importorskip("submitit")

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


@pytest.fixture
def cluster_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "cluster.yaml"
    monkeypatch.setenv("PGSBENCH_CLUSTER", str(path))
    path.write_text(
        "profiles:\n  long: {partition: main, minutes: 20, save_seconds: 30}\n"
        "  short: {partition: main, minutes: 3, save_seconds: 60}\n"
        "  two: {partition: main, cpus: 2, processes: 2, again: long}\n"
    )


@pytest.mark.slow
@pytest.mark.timeout(1500)
def test_a_study_on_slurm_is_the_same_to_the_bit_and_a_limit_costs_nothing(
    tiny: TinyWorld, tmp_path: Path, real_slurm: Path, cluster_file: None
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
    assert "2 runs missing, 2 jobs submitted" in out
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
    tiny: TinyWorld, tmp_path: Path, real_slurm: Path, cluster_file: None
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


@pytest.mark.slow
@pytest.mark.timeout(2500)
def test_a_real_time_limit_in_mid_training_costs_nothing(
    tiny: TinyWorld, tmp_path: Path, real_slurm: Path, cluster_file: None
) -> None:
    """The training takes longer than the limit of a job, and nobody but SLURM says so."""
    pause = "time.sleep(0.25 if 'SLURM_JOB_ID' in os.environ else 0)"
    slow = HALF.replace("        return", f"        {pause}\n        return", 1)
    (tmp_path / "slow.py").write_text(f"import os, time\n{slow}")
    changes = [f"strategy={{name: '{tmp_path}/slow.py:Half'}}", "training.samples=9600"]
    changes += ["training.checkpoint_every_steps=1000", "search=null", "arms={}"]
    study = open_study_file(tiny.study, overrides=changes)
    left = workers.leave(workers.on_cluster(study, on="slurm:short", output=tmp_path))
    (spec,) = left.missing
    run = RunDir(tmp_path / "runs" / spec.folder)
    wait_until(lambda: run.last_step() > 3)
    wait_until(lambda: run.holder is None)
    assert not run.is_done
    lines = (run.path / files.METRICS).read_text()
    assert run.last_step() < spec.config.training.steps
    assert f"step-{run.last_step():08d}" in [state.name for state in run.state.iterdir()]
    wait_until(lambda: run.is_done, seconds=1500)
    assert (run.path / files.METRICS).read_text().startswith(lines)  # no step was done twice
    assert Marks(tmp_path / "runs/tiny").failure(spec.id) is None
    work_on(study, output=tmp_path / "here", jobs=1).train()
    (weights,) = run.checkpoint.glob("*.safetensors")
    other = tmp_path / "here/runs" / weights.relative_to(tmp_path / "runs")
    assert other.read_bytes() == weights.read_bytes()


@pytest.mark.slow
@pytest.mark.timeout(1500)
def test_a_run_of_two_processes_goes_on_with_one_after_its_limit(
    tiny: TinyWorld, tmp_path: Path, real_slurm: Path, cluster_file: None
) -> None:
    study = open_study_file(tiny.study, overrides=["training.samples=4800", "search=null", "arms={}"])
    left = workers.leave(workers.on_cluster(study, on="slurm:two", output=tmp_path))
    (spec,), (job,) = left.missing, left.jobs
    run, marks = RunDir(tmp_path / "runs" / spec.folder), Marks(tmp_path / "runs/tiny")
    wait_until(lambda: run.last_step() > 3)
    subprocess.run(["scancel", "--signal=USR1", job], check=True)
    wait_until(lambda: (queued := marks.queued(spec.id)) is not None and queued.job != job)
    lines = (run.path / files.METRICS).read_text()
    assert run.last_step() < spec.config.training.steps
    wait_until(lambda: run.is_done)
    assert (run.path / files.METRICS).read_text().startswith(lines)
    wait_until(lambda: slurm.known_jobs() == set())
    assert marks.failure(spec.id) is None


def wait_until(is_so: Callable[[], bool], seconds: float = 600) -> None:
    until = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < until
        time.sleep(0.2)


@pytest.mark.slow
def test_a_job_that_fails_is_a_failed_run_and_one_that_is_cancelled_is_not_done(
    tiny: TinyWorld, tmp_path: Path, real_slurm: Path, cluster_file: None
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
