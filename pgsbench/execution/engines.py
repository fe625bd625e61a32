"""The engines by name: this machine, SLURM, Dask."""

from __future__ import annotations

from pathlib import Path

from pgsbench.config.schema import StudyConfig
from pgsbench.errors import ConfigError, nearest
from pgsbench.execution.dask import DaskEngine
from pgsbench.execution.engine import Engine
from pgsbench.execution.local import LocalEngine
from pgsbench.execution.slots import plan_slots, threads_of_environment
from pgsbench.execution.slurm import SlurmEngine, read_profile


def engine_named(
    on: str,
    config: StudyConfig,
    runs_root: Path,
    *,
    jobs: int | None = None,
    device: str = "auto",
    threads: int | None = None,
) -> Engine:
    """Return the engine of a study.

    Args:
        on: ``local``, ``slurm``, ``slurm:PROFILE`` or ``dask:ADDRESS``.
        config: The study.
        runs_root: The folder of all studies.
        jobs: On this machine at most this many runs at a time.
        device: ``auto``, ``cpu``, ``cuda`` or one GPU such as ``cuda:1``; a profile says it itself.
        threads: CPU threads of a run; likewise.

    Raises:
        UserError: There is no such engine, profile or device, or the study does not fit it.
    """
    kind, _, name = on.partition(":")
    together = config.devices_per_run
    if on == "local":
        slots = plan_slots(jobs=jobs, device=device, threads=threads, devices_per_run=together)
        return LocalEngine(slots, runs_root)
    if kind == "slurm":
        return SlurmEngine(read_profile(name), config, runs_root)
    if kind == "dask" and name:
        threads = threads or threads_of_environment()
        return DaskEngine(name, device=device, threads=threads, devices_per_run=together, runs_root=runs_root)
    way_out = nearest(on, ["local", "slurm", "slurm:PROFILE", "dask:ADDRESS"])
    raise ConfigError("no such engine", where="--on", value=on, way_out=way_out)
