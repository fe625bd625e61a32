"""Runs as jobs of SLURM, through submitit: a job each, on one machine or on several.

What a job does is in `pgsbench.execution.slurm_job`. A profile of ``cluster.yaml`` is what submitit takes, so
its documentation holds.
"""

from __future__ import annotations

import os
import pickle
import subprocess
import threading
import time
from collections.abc import Callable
from concurrent.futures import Executor, Future
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pgsbench.config.schema import StudyConfig
from pgsbench.config.yaml_text import parse_yaml, read_text
from pgsbench.errors import ConfigError, RunError, StudyError, nearest
from pgsbench.execution.engine import Engine, Slots
from pgsbench.execution.slurm_job import RunJob
from pgsbench.records import files
from pgsbench.records.run_records import Failure, Job
from pgsbench.records.run_spec import RunSpec
from pgsbench.tracking.rundir import RunDir, find_or_make
from pgsbench.tracking.states import state

#: Folder of jobs' scripts and output, in the study's folder.
JOBS = "jobs"
WAIT_SECONDS = 2.0
#: A job that SLURM does not know any more may have ended this moment.
GONE_SECONDS = 10.0
#: Characters of a job's output that are shown where it failed.
TAIL = 1000
#: Jobs of one study at a time, where the profile does not say `slurm_array_parallelism`.
PARALLEL = 64


# -------------------------------------------------------------------------------------------- the profile


@dataclass(frozen=True)
class Profile:
    """What a job asks for, in submitit's own words: a profile of ``cluster.yaml``.

    Attributes:
        name: Its name.
        keys: Arguments of submitit's ``AutoExecutor.update_parameters``.
    """

    name: str
    keys: dict[str, Any]

    @property
    def device(self) -> str:
        """Type of the device that runs are trained on."""
        return "cuda" if self.keys.get("gpus_per_node") else "cpu"

    @property
    def tasks(self) -> int:
        """Tasks of a job; where there are several, each is one process of the run."""
        return int(self.keys.get("nodes", 1)) * int(self.keys.get("tasks_per_node", 1))

    def devices_for(self, config: StudyConfig) -> int:
        """Return how many devices train a run together.

        Raises:
            ConfigError: The study wants another number, or trains its runs on one device.
        """
        gpus, tasks = int(self.keys.get("gpus_per_node", 0)), self.tasks
        if tasks > 1 and gpus and gpus != self.keys.get("tasks_per_node", 1):
            raise ConfigError(
                "a job of several tasks has one for each GPU",
                where=f"{self.name}.tasks_per_node",
                value=self.keys.get("tasks_per_node", 1),
                way_out=f"tasks_per_node: {gpus}",
            )
        asked = config.devices_per_run
        found = tasks if tasks > 1 else gpus or asked
        if asked not in (1, found):
            raise ConfigError(
                f"the profile {self.name} trains a run on {found} devices",
                where="devices_per_run",
                value=asked,
                way_out=f"devices_per_run: {found}, or a profile with as many GPUs or tasks",
            )
        if found > 1 and config.budget and config.budget.equal == "seconds":
            raise ConfigError(
                f"the study times its runs on one device, and the profile {self.name} trains each on {found}",
                where="budget",
                way_out="name a profile of one device",
            )
        return found

    def threads_for(self, num_devices: int) -> int:
        """Return the CPU threads of each process of a run; on GPUs they matter little."""
        processes = 1 if self.tasks > 1 else num_devices
        return max(1, int(self.keys.get("cpus_per_task", 1)) // processes)


def cluster_file() -> Path:
    """Return where profiles stand: in ``PGSBENCH_CLUSTER``, else ``cluster.yaml`` of the working folder."""
    return Path(os.environ.get("PGSBENCH_CLUSTER") or "cluster.yaml")


def read_profile(name: str = "") -> Profile:
    """Return a profile of `cluster_file`.

    Args:
        name: The profile; empty: the first.

    Raises:
        ConfigError: There is no such file or profile.
    """
    path = cluster_file()
    example = "`one: {slurm_partition: main, gpus_per_node: 1, timeout_min: 240}`"
    if not path.is_file():
        rule, way_out = "a cluster needs a file of profiles", f"write {example} into it (docs/cluster.md)"
        raise ConfigError(rule, where=str(path), way_out=way_out)
    profiles = parse_yaml(read_text(path), str(path))[0]
    if (
        not isinstance(profiles, dict)
        or not profiles
        or not all(isinstance(one, dict) for one in profiles.values())
    ):
        rule = "each entry is a profile: a name, and submitit's parameters"
        raise ConfigError(rule, where=str(path), way_out=f"as in {example}")
    if name and name not in profiles:
        raise ConfigError("no such profile", where=str(path), value=name, way_out=nearest(name, profiles))
    name = name or str(next(iter(profiles)))
    return Profile(name, {str(key): value for key, value in profiles[name].items()})


# ---------------------------------------------------------------------------------------------- the engine


class SlurmEngine(Engine):
    """Jobs of SLURM.

    Where the block is left by an exception, such as Ctrl-C, the jobs stay: the same command finds them.

    Args:
        profile: What each asks for.
        config: The study.
        runs_root: The folder of all studies, which the jobs must see, too.

    Raises:
        ConfigError: The study does not fit the profile.
    """

    goes_on = True

    def __init__(self, profile: Profile, config: StudyConfig, runs_root: Path) -> None:
        self._num_devices = profile.devices_for(config)
        self._profile, self._root, self._study = profile, runs_root, config.name
        self._known: set[str] | None = None
        self._asked = -WAIT_SECONDS
        threads = profile.threads_for(self._num_devices)
        self.slots = Slots((profile.device,), threads, are_here=False)

    def __enter__(self) -> SlurmEngine:
        self._executor = SlurmExecutor(self._profile, self._root / self._study / JOBS, self._study)
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        del kind
        self._executor.shutdown(wait=False)

    @property
    def places(self) -> int:
        """As many jobs as the profile allows of one study."""
        return int(self._profile.keys.get("slurm_array_parallelism", PARALLEL))

    def submit(self, spec: RunSpec, run: RunDir) -> Future[None]:
        """Submit the job of a run, whose directory is made for it."""
        run = find_or_make(self._root, spec)
        job = RunJob(str(run.path), self._profile.device, self.slots.threads, self._num_devices)
        future = self._executor.submit(job)
        run.give_to(self._executor.job_of(future))
        return future

    def found(self, run: RunDir) -> Future[None] | None:
        """Return the future of a job that an earlier command has submitted, unless it has ended.

        Raises:
            StudyError: SLURM cannot be asked.
        """
        if (job := run.job) is None:
            return None
        if time.monotonic() - self._asked > WAIT_SECONDS:  # once for many runs
            self._known, self._asked = known_jobs(), time.monotonic()
        if self._known is None:
            raise StudyError(
                "squeue does not answer, so nobody knows whether a run's job has ended",
                where=str(run.path),
                way_out="repeat the command when it does; the run was not submitted",
            )
        return self._executor.future_of(job) if job.id in self._known else None


class SlurmExecutor(Executor):
    """Submits calls as jobs through submitit; a future ends when SLURM does not know the job any more.

    It holds no result: what a run leaves is in its directory. It has an exception where the job ended without
    a word, with the last of its output.
    """

    def __init__(self, profile: Profile, folder: Path, name: str) -> None:
        try:
            import submitit
        except ImportError:
            raise StudyError(
                "jobs are submitted by submitit, which is not installed",
                where="--on slurm",
                way_out="in a clone of pgsbench: pip install '.[slurm]'",
            ) from None
        more = {**profile.keys.get("slurm_additional_parameters", {}), "requeue": True}
        said = {**profile.keys, "slurm_additional_parameters": more, "name": name}
        self._folder, self._left = folder, dict[Future[Any], Job]()
        self._gone: dict[str, float] = {}
        self._is_over = threading.Event()
        try:
            self._submitit = submitit.AutoExecutor(folder=folder / "%j", cluster="slurm")
            self._submitit.update_parameters(stderr_to_stdout=True, **said)
        except (NameError, AssertionError) as error:
            where = f"{cluster_file()}: {profile.name}"
            raise ConfigError(f"submitit does not take this profile: {error}", where=where) from None
        except RuntimeError as error:
            raise StudyError(f"there is no SLURM here: {error}", where="--on slurm") from None
        threading.Thread(target=self._watch, daemon=True).start()

    def submit(self, call: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """Submit a call, which must pickle.

        Raises:
            StudyError: SLURM refuses.
        """
        from submitit.core.utils import FailedJobError

        try:
            job = self._submitit.submit(call, *args, **kwargs)
        except (RuntimeError, OSError, FailedJobError) as error:
            raise StudyError(
                f"SLURM takes no job: {error}", where="--on slurm", way_out="see `sinfo`"
            ) from error
        return self.future_of(Job(str(job.job_id), str(self._folder / str(job.job_id))))

    def future_of(self, job: Job) -> Future[Any]:
        """Return the future of a job that was submitted."""
        future: Future[Any] = Future()
        future.set_running_or_notify_cancel()
        self._left[future] = job
        return future

    def job_of(self, future: Future[Any]) -> Job:
        """Return the job of a future."""
        return self._left[future]

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Look after the jobs no more; they stay."""
        del wait, cancel_futures
        self._is_over.set()

    def _watch(self) -> None:
        while not self._is_over.wait(WAIT_SECONDS):
            known = known_jobs()
            if known is None:  # SLURM does not answer
                continue
            for future, job in list(self._left.items()):
                if job.id in known:
                    self._gone.pop(job.id, None)
                elif time.monotonic() - self._gone.setdefault(job.id, time.monotonic()) > GONE_SECONDS:
                    del self._left[future]
                    error = None if _ended_well(job) else RunError(last_words(job), way_out=job.folder)
                    future.set_exception(error) if error else future.set_result(None)


def known_jobs() -> set[str] | None:
    """Return the ids of the jobs that SLURM has not ended; None: it cannot be asked."""
    try:
        done = subprocess.run(
            ["squeue", "--noheader", "--array", "--format=%i"],
            capture_output=True,
            text=True,
            check=True,
            timeout=60,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return set(done.stdout.split())


def fail_vanished(runs: list[RunDir]) -> None:
    """Mark runs as failed whose jobs are gone without a word, with the last of their output."""
    given = [(run, job) for run in runs if state(run) in ("queued", "lost") and (job := run.job)]
    known = known_jobs() if given else None
    if known is None:
        return
    for run, job in given:
        age = time.time() - (run.path / files.JOB).stat().st_mtime
        if job.id not in known and age > GONE_SECONDS and state(run) in ("queued", "lost"):
            run.fail(Failure(last_words(job), job.folder))


def last_words(job: Job) -> str:
    """Return what is said of a job that ended without a word: the end of its output."""
    found = sorted(Path(job.folder).glob(f"{job.id}_*.out"))
    tail = found[-1].read_text(errors="replace")[-TAIL:].strip() if found else "it left no output"
    return f"its job ended without a word: {tail}"


def _ended_well(job: Job) -> bool:
    """Tell whether a job returned, which submitit writes down."""
    for path in Path(job.folder).glob(f"{job.id}_0_result.pkl"):
        with suppress(OSError, EOFError, pickle.UnpicklingError), path.open("rb") as file:
            return bool(pickle.load(file)[0] == "success")
    return False
