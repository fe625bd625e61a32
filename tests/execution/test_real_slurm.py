"""A real SLURM of one node: runs equal to those of one machine, limits, several tasks, jobs that die."""

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
from tinyworld import HALF, TinyWorld

from pgsbench.records import files
from pgsbench.session.opening import work_on
from pgsbench.study.open import open_study_file
from pgsbench.tracking.rundir import RunDir
from pgsbench.tracking.states import state

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
def profiles(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PGSBENCH_CLUSTER", str(tmp_path / "cluster.yaml"))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "cluster.yaml").write_text(
        "one: {slurm_partition: main, timeout_min: 20}\n"
        "short: {slurm_partition: main, timeout_min: 1, slurm_signal_delay_s: 25}\n"
        "two: {slurm_partition: main, timeout_min: 20, tasks_per_node: 2}\n"
    )


def wait_until(is_so: Callable[[], bool], seconds: float = 600) -> None:
    until = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < until
        time.sleep(0.2)


def weights(root: Path) -> dict[str, bytes]:
    found = root.glob("runs/*/*/checkpoints/model/*.safetensors")
    return {path.parts[-4]: path.read_bytes() for path in found}


@pytest.mark.slow
@pytest.mark.timeout(1500)
def test_a_sweep_on_slurm_is_that_of_one_machine_to_the_bit(
    tiny: TinyWorld, tmp_path: Path, real_slurm: Path, profiles: None
) -> None:
    """The command is killed midway and the same one finds its jobs; one of them is queued again meanwhile."""
    study = ["--set", "training.samples=1600", "--set", "name=tiny", "--set", "search.arms=[pgs]"]
    study += ["--set", "arms={none: {strategy: none}}"]

    def pgsbench(*words: str) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "pgsbench", *words]
        return subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, text=True)

    sweep = ["sweep", str(tiny.study), *study, "--output", "there", "--on", "slurm:one"]
    killed = pgsbench(*sweep)
    root = tmp_path / "there/runs/tiny"
    begun = lambda: [path for path in root.glob("*/metrics.jsonl") if RunDir(path.parent).last_step() > 3]  # noqa: E731
    wait_until(lambda: bool(begun()))
    killed.kill()
    killed.communicate()
    job = RunDir(begun()[0].parent).job
    assert job is not None
    subprocess.run(["scancel", "--signal=USR2", job.id], check=True)
    again = pgsbench(*sweep)
    again.communicate(timeout=1200)
    assert again.returncode == 0
    assert {RunDir(path).job.id for path in root.glob("*-*")} >= {job.id}, "it kept its job"
    (log,) = [text for path in root.rglob("*.out") if "REQUEUE" in (text := path.read_text())]
    assert log.count("Loading pickle") == 2  # it was queued again, and started anew
    here = pgsbench(*sweep[:-3], "here", "--jobs", "2")
    here.communicate(timeout=1200)
    assert len(weights(tmp_path / "there")) == 3
    assert weights(tmp_path / "there") == weights(tmp_path / "here")


@pytest.mark.slow
@pytest.mark.timeout(1500)
def test_a_time_limit_in_mid_training_and_two_tasks_cost_nothing(
    tiny: TinyWorld, tmp_path: Path, real_slurm: Path, profiles: None
) -> None:
    """The training takes longer than the limit of a job, and nobody but SLURM says so."""
    pause = "time.sleep(0.25 if os.environ.get('SLURM_JOB_ID') and not os.environ.get('RANK') else 0)"
    slow = HALF.replace("        return", f"        {pause}\n        return", 1)
    (tmp_path / "slow.py").write_text(f"import os, time\n{slow}")
    changes = [f"strategy={{name: '{tmp_path}/slow.py:Half'}}", "training.samples=3200"]
    changes += ["training.checkpoint_every_steps=1000", "search=null", "arms={}"]
    file = open_study_file(tiny.study, overrides=changes)
    short = work_on(file, output=tmp_path / "short", on="slurm:short")
    (spec,) = short.plan()
    short.leave([spec], submit=True)
    run = RunDir(tmp_path / "short/runs" / spec.folder)
    wait_until(lambda: run.last_step() > 3)
    assert state(run) == "running"
    wait_until(lambda: run.holder is None)
    assert not run.is_done
    lines = (run.path / files.METRICS).read_text()
    assert run.last_step() < spec.config.training.steps
    assert f"step-{run.last_step():08d}" in [state.name for state in run.state.iterdir()]
    wait_until(lambda: run.is_done, seconds=1200)
    assert (run.path / files.METRICS).read_text().startswith(lines)  # no step was done twice
    assert run.failure is None
    work_on(file, output=tmp_path / "here", jobs=1).train()
    assert weights(tmp_path / "short") == weights(tmp_path / "here")
    two = work_on(file, output=tmp_path / "two", on="slurm:two")
    two.train()
    assert two.failed == []
    losses = [
        [line["loss"] for line in RunDir(tmp_path / folder / "runs" / spec.folder).metrics()]
        for folder in ("two", "here")
    ]
    assert losses[0] == pytest.approx(losses[1], rel=1e-3), "rounded otherwise"


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_job_that_dies_is_a_failed_run_with_its_last_words(
    tiny: TinyWorld, tmp_path: Path, real_slurm: Path, profiles: None
) -> None:
    dying = HALF.replace(
        "        return", "        print('last words')\n        os.kill(0, 9)\n        return", 1
    )
    (tmp_path / "dying.py").write_text(f"import os\n{dying}")
    changes = [f"strategy={{name: '{tmp_path}/dying.py:Half'}}", "search=null", "arms={}"]
    study = work_on(open_study_file(tiny.study, overrides=changes), output=tmp_path, on="slurm:one")
    study.train()
    ((spec, error),) = study.failed
    assert "its job ended without a word" in str(error)
    assert state(RunDir(tmp_path / "runs" / spec.folder)) == "failed"
