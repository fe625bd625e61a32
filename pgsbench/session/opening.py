"""From a study file to a study at work. The command line and Python call the same."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pgsbench.config.schema import StudyConfig
from pgsbench.disk.whole_files import unwritable
from pgsbench.errors import ConfigError, nearest
from pgsbench.execution.dask import DaskEngine
from pgsbench.execution.engine import Engine, plan_slots, threads_of_environment
from pgsbench.execution.local import LocalEngine
from pgsbench.execution.slurm import SlurmEngine, read_profile
from pgsbench.session.study import Study
from pgsbench.study.design import Design
from pgsbench.study.open import open_by_name


def open_study(
    name: str | Path,
    *,
    overrides: Sequence[str] | Mapping[str, object] = (),
    seeds: int | None = None,
    **options: Any,
) -> Study:
    """Open a study to work on it.

    Args:
        name: A study file, or the name of a study that ships.
        overrides: What differs from the file, as ``"a.b=value"`` texts or a mapping ``{"a.b": value}``. With
            another base or other arms it is another study, whose name ends in a hash of the overrides.
        seeds: Number of seeds, 0, 1, ...; None: the study's own.
        **options: Where and how it is worked on; see `work_on`.

    Raises:
        UserError: The study has mistakes, the folder cannot be written, or there is no such device.
    """
    return work_on(open_by_name(name, overrides=overrides, seeds=seeds), **options)


def work_on(
    design: Design,
    *,
    output: str | Path = ".",
    jobs: int | None = None,
    device: str = "auto",
    threads: int | None = None,
    on: str = "local",
    wait: bool = True,
    command: str = "",
) -> Study:
    """Take a study that has been read to work.

    Args:
        design: The study.
        output: The folder of ``runs/`` and ``reports/``.
        jobs: At most this many runs at a time.
        device: ``auto``, ``cpu``, ``cuda`` or one GPU such as ``cuda:1``.
        threads: CPU threads of a run; None: ``OMP_NUM_THREADS``, else 1.
        on: ``local``, ``slurm``, ``slurm:PROFILE`` or ``dask:ADDRESS``; jobs of SLURM have the devices and
            threads of their profile.
        wait: Wait where another command drives the study; else that is an error.
        command: What the record says has run the study.

    Raises:
        UserError: The folder cannot be written, or there is no such device or engine.
    """
    for part in ("runs", "reports"):
        if reason := unwritable(Path(output, part)):
            raise ConfigError(
                f"{part} cannot be written: {reason}", where="output", way_out="name another folder"
            )
    engine = engine_named(
        on, design.config, Path(output, "runs").resolve(), jobs=jobs, device=device, threads=threads
    )
    return Study(design, Path(output), engine, command=command, wait=wait)


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
