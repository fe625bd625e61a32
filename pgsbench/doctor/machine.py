"""Versions, processor, devices, folders: will runs work here, and as fast as they can?"""

from __future__ import annotations

import os
import platform
import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path

from pgsbench.data import store as data_store

#: Space that a data set and a few runs take, and space below which the next file may fail.
ROOM_GIB, FULL_GIB = 5.0, 0.5
#: Shared memory below this is too small for reader processes (containers have 64 MiB by default).
SHARED_MEMORY_GIB = 0.5

_NETWORK_DISKS = {"nfs", "nfs4", "cifs", "smb3", "9p", "fuse.sshfs", "lustre", "beegfs", "gpfs"}
_PACKAGES = ("torch", "open_clip_torch", "clip_benchmark", "numpy", "mlflow", "optuna")

OK, WARNING, PROBLEM = "ok", "warning", "problem"


@dataclass(frozen=True)
class Check:
    """What was looked at, and what to do about it.

    Attributes:
        what: What was looked at.
        found: What is there.
        state: ``ok``, ``warning`` (something is slow or missing) or ``problem`` (something will fail).
        remedy: What to do about it; empty where all is well.
    """

    what: str
    found: str
    state: str = OK
    remedy: str = ""


def worse_if(condition: object, state: str) -> str:
    """Return the state where the condition holds, else ``ok``."""
    return state if condition else OK


def versions() -> Iterator[Check]:
    """Yield what is installed, and what does not fit together."""
    yield Check("python", f"{platform.python_version()} ({sys.prefix})")
    lacking = []
    for line in requires("pgsbench") or ():
        name = line.partition(";")[0]
        name = name[: next((i for i, letter in enumerate(name) if letter in "<>=!~ ["), len(name))]
        if "extra ==" not in line and not _version(name):
            lacking.append(name)
    found = ", ".join(f"{name} {_version(name)}" for name in _PACKAGES if _version(name))
    remedy = f"pip install {' '.join(lacking)}" if lacking else ""
    yield Check(
        "packages", f"missing: {', '.join(lacking)}" if lacking else found, worse_if(lacking, PROBLEM), remedy
    )


def processor() -> Iterator[Check]:
    """Yield what decides how fast runs are on the processor."""
    from pgsbench.devices import usable_cores

    cores = usable_cores()
    text = os.environ.get("OMP_NUM_THREADS", "")
    threads = int(text) if text.isdigit() else 1
    quota = _cpu_quota()
    if quota is not None and quota < cores:
        yield Check(
            "processor quota",
            f"{quota:.1f} of {cores} cores",
            WARNING,
            f"add --jobs {max(1, int(quota))}: the container is stopped for moments beyond its quota",
        )
    if text and not text.isdigit():
        yield Check("OMP_NUM_THREADS", text, WARNING, "set it to a whole number, or unset it")
    elif threads > cores:
        remedy = f"export OMP_NUM_THREADS={cores} or less: threads that share a core wait for one another"
        yield Check("OMP_NUM_THREADS", f"{threads} threads on {cores} cores", WARNING, remedy)
    else:
        yield Check("OMP_NUM_THREADS", f"{text or 'not set, so 1'} ({cores} cores)")


def devices() -> Iterator[Check]:
    """Yield the GPUs, and one that PyTorch cannot use."""
    import torch

    if torch.cuda.is_available():
        names = [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())]
        yield Check("devices", f"{len(names)} GPUs: {', '.join(names)}")
    elif shutil.which("nvidia-smi") or Path("/dev/nvidia0").exists():
        built = f"is built for CUDA {torch.version.cuda}" if torch.version.cuda else "is built without CUDA"
        remedy = "install the PyTorch that fits the driver: https://pytorch.org/get-started/locally/"
        yield Check("devices", f"there is a GPU, and PyTorch cannot use it: it {built}", WARNING, remedy)
    else:
        yield Check("devices", "cpu")


def reading() -> Iterator[Check]:
    """Yield how many processes read streamed data."""
    from pgsbench.data.shards import ASSUMED_PAIRS, num_readers
    from pgsbench.devices import usable_cores

    found = f"{num_readers()} a device ({usable_cores()} cores), some {num_readers() * ASSUMED_PAIRS} pairs/s"
    yield Check("readers of streamed data", f"{found}: assumed, `python -m benchmarks.data` measures")


def folders(output: Path) -> Iterator[Check]:
    """Yield the folders that are written to, those of the runs below `output`."""
    places = {
        "data (PGSBENCH_DATA)": data_store.root(),
        "runs": output / "runs",
        "reports": output / "reports",
    }
    for what, folder in places.items():
        yield _folder(what, folder)
    shared = Path("/dev/shm")
    if shared.is_dir():
        size = shutil.disk_usage(shared).total / 2**30
        small = size < SHARED_MEMORY_GIB
        remedy = "start the container with --shm-size=2g: readers of streamed data need it" if small else ""
        yield Check("shared memory", f"{size:.2f} GiB", worse_if(small, WARNING), remedy)


def _folder(what: str, folder: Path) -> Check:
    """Write a file beside what will be written there; the folder itself is not made."""
    place = folder.absolute()
    while not place.exists():
        place = place.parent
    probe = place / f".pgsbench-doctor-{os.getpid()}"
    other = f"name another folder: {'PGSBENCH_DATA=DIR' if 'DATA' in what else '--output DIR'}"
    try:
        with probe.open("wb") as file:
            file.write(bytes(1 << 20))
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        return Check(what, f"{folder}: {error.strerror}", PROBLEM, other)
    finally:
        if os.access(place, os.W_OK) and place.is_dir():
            probe.unlink(missing_ok=True)
    free = shutil.disk_usage(place).free / 2**30
    found = f"{folder}: {free:,.1f} GiB free"
    if free < ROOM_GIB:
        return Check(what, found, PROBLEM if free < FULL_GIB else WARNING, f"make room, or {other}")
    if (kind := _disk_kind(place)) in _NETWORK_DISKS:
        return Check(what, f"{found}, on {kind}", WARNING, f"SQLite may break on a network disk: {other}")
    return Check(what, found)


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return ""


def _disk_kind(place: Path) -> str:
    """Return the type of the file system that holds a folder; empty where that is not known."""
    try:
        lines = Path("/proc/mounts").read_text().splitlines()
    except OSError:
        return ""
    mounts = [line.split()[1:3] for line in lines if len(line.split()) > 2]
    holding = [(len(point), kind) for point, kind in mounts if place.is_relative_to(point)]
    return max(holding)[1] if holding else ""


def _cpu_quota() -> float | None:
    """Return how many cores a container may use; None: all."""
    try:
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text().split()
    except (OSError, ValueError):
        return None
    return None if quota == "max" else int(quota) / int(period)
