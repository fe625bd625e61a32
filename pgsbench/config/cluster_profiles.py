"""``cluster.yaml``: what a job of a cluster asks for, one profile a kind of job."""

from __future__ import annotations

import os
from pathlib import Path

from pydantic import Field, model_validator

from pgsbench.config.read import check_all
from pgsbench.config.strict import Strict
from pgsbench.config.yaml_text import parse_yaml, read_text
from pgsbench.errors import ConfigError, nearest

CLUSTER_FILE = "cluster.yaml"


class Profile(Strict):
    """What one job asks SLURM for; each works on one run at a time."""

    partition: str | None = None
    account: str | None = None
    qos: str | None = None
    constraint: str | None = None
    minutes: int = Field(60, ge=1, description="Time limit; a run that needs longer is queued again.")
    gpus: int = Field(
        0, ge=0, le=64, description="GPUs of a job, of one machine; they train its run together. 0: CPUs do."
    )
    processes: int = Field(1, ge=1, le=64, description="Of a run on CPUs: processes that train it together.")
    cpus: int = Field(
        1, ge=1, description="CPUs of a job; of a run on CPUs the threads of all its processes."
    )
    memory_gib: float | None = Field(None, gt=0)
    options: dict[str, bool | int | str] = Field(
        default_factory=dict, description="Other options of sbatch, as `exclude: node7`, `exclusive: true`."
    )
    setup: list[str] = Field(default_factory=list, description="Shell lines before a job, as `module load`.")
    parallel: int = Field(64, ge=1, description="Jobs of one study at a time.")
    save_seconds: int = Field(
        90, ge=1, description="How long before the limit a job saves and is queued again."
    )
    again: str | None = Field(
        None, description="Profile that a run goes on with after the limit, as on fewer GPUs; null: the same."
    )

    @model_validator(mode="after")
    def _check_processes(self) -> Profile:
        if self.processes > 1 and self.gpus:
            raise ValueError("processes are those of a run on CPUs; a run on GPUs has one for each")
        if self.cpus % self.processes:
            raise ValueError("cpus must be a multiple of processes, which have as many threads each")
        return self

    @property
    def device(self) -> str:
        """Type of the device that runs are trained on."""
        return "cuda" if self.gpus else "cpu"

    @property
    def num_devices(self) -> int:
        """How many devices train a run together, a process each."""
        return self.gpus or self.processes

    @property
    def threads(self) -> int:
        """CPU threads of each process of a run on CPUs."""
        return self.cpus // self.processes


class Cluster(Strict):
    """A cluster's profiles; the first is taken where none is named."""

    profiles: dict[str, Profile] = Field(min_length=1)

    @model_validator(mode="after")
    def _check_again(self) -> Cluster:
        for name, profile in self.profiles.items():
            if profile.again is not None and profile.again not in self.profiles:
                known = ", ".join(self.profiles)
                raise ValueError(
                    f"{name}: again must name one of the profiles ({known}), not {profile.again}"
                )
        return self


def cluster_file() -> Path:
    """Return where profiles stand: in ``PGSBENCH_CLUSTER``, else ``cluster.yaml`` of the working folder."""
    return Path(os.environ.get("PGSBENCH_CLUSTER") or CLUSTER_FILE)


def read_profile(name: str = "") -> Profile:
    """Return a profile of `cluster_file`.

    Args:
        name: The profile; empty: the first.

    Raises:
        ConfigError: There is no such file or profile, or it has mistakes.
    """
    path = cluster_file()
    if not path.is_file():
        raise ConfigError(
            "a cluster needs a file that says what jobs ask for",
            where=str(path),
            way_out="write `profiles: {one: {partition: main, gpus: 1}}` into it (docs/scale.md)",
        )
    data, lines = parse_yaml(read_text(path), str(path))
    checked = check_all(
        Cluster, data if isinstance(data, dict) else {}, lambda key: f"{path}:{lines.get(key, 1)}: {key}"
    )
    if checked.model is None or checked.problems:
        raise ConfigError.collect(checked.problems, where=str(path))
    profiles = checked.model.profiles
    if name and name not in profiles:
        raise ConfigError("no such profile", where=str(path), value=name, way_out=nearest(name, profiles))
    return profiles[name or next(iter(profiles))]
