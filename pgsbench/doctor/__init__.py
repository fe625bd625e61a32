"""What will go wrong on this machine, looked at in seconds, each with its remedy."""

from __future__ import annotations

import os
import platform
import re
import shutil
import socket
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, requires, version
from importlib.util import find_spec
from pathlib import Path

from pgsbench.data import store
from pgsbench.data.public import is_offline
from pgsbench.devices import devices_named, usable_cores
from pgsbench.disk.whole_files import unwritable
from pgsbench.errors import ConfigError, PluginError, without_password
from pgsbench.evaluation.protocols import PROTOCOLS
from pgsbench.execution.slurm import cluster_file, read_profile
from pgsbench.masking import STRATEGIES
from pgsbench.masking.text import TEXT_STRATEGIES
from pgsbench.reporting.render import Header, Table, counted
from pgsbench.tracking.mlflow_store import client_of, database_path, resolve_uri

#: Space that a data set and a few runs take, and space below which the next file may fail.
ROOM_GIB, FULL_GIB = 5.0, 0.5
#: Shared memory below this is too small for reader processes (containers have 64 MiB by default).
SHARED_MEMORY_GIB = 0.5
#: How long the network may take to answer.
PATIENCE_SECONDS = 1.0

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


def checks(output: Path = Path()) -> Iterator[Check]:
    """Yield all checks.

    Args:
        output: The folder of ``runs/`` and ``reports/``.
    """
    yield from versions()
    yield from threads()
    yield devices()
    yield from folders(output)
    yield tracking()
    yield from cluster()
    yield network()
    yield from plugins()


def gpu_checks(output: Path = Path()) -> list[Check]:
    """Return what the first GPU shows in a few steps, and write it to a file below `output`.

    Raises:
        ConfigError: There is no GPU.
    """
    from pgsbench.doctor import gpu

    device = devices_named("cuda")[0]
    found = [*versions(), devices(), *gpu.checks(device)]
    place = gpu.write(output, found)
    return [*found, Check("file", str(place))]


def checks_table(found: Sequence[Check]) -> Table:
    """Return checks for people, problems first."""
    order = [PROBLEM, WARNING, OK]
    rows = [[one.what, one.state, one.found, one.remedy] for one in found]
    rows.sort(key=lambda row: order.index(row[1]))
    problems, warnings, fine = (sum(one.state == state for one in found) for state in order)
    counts = f"{counted(problems, 'problem')}, {counted(warnings, 'warning')}, {fine} ok"
    header: Header = ["what", "state", "found", "remedy"]
    return Table("This machine", header, rows, [f"{counts}."])


def versions() -> Iterator[Check]:
    """Yield what is installed, and what is missing."""
    yield Check("python", f"{platform.python_version()} ({sys.prefix})")
    wanted = [re.split(r"[^\w.-]", line)[0] for line in requires("pgsbench") or () if "extra ==" not in line]
    if lacking := [name for name in wanted if not _version(name)]:
        yield Check("packages", f"missing: {', '.join(lacking)}", PROBLEM, f"pip install {' '.join(lacking)}")
    else:
        yield Check("packages", ", ".join(f"{name} {_version(name)}" for name in _PACKAGES))


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return ""


def threads() -> Iterator[Check]:
    """Yield what decides how fast runs are on the processor."""
    cores, text = usable_cores(), os.environ.get("OMP_NUM_THREADS", "")
    quota = _cpu_quota()
    if quota is not None and quota < cores:
        remedy = f"add --jobs {max(1, int(quota))}: the container is stopped for moments beyond its quota"
        yield Check("processor quota", f"{quota:.1f} of {cores} cores", WARNING, remedy)
    if text and not text.isdigit():
        yield Check("OMP_NUM_THREADS", text, WARNING, "set it to a whole number, or unset it")
    elif int(text or 1) > cores:
        remedy = f"export OMP_NUM_THREADS={cores} or less: threads that share a core wait for one another"
        yield Check("OMP_NUM_THREADS", f"{text} threads on {cores} cores", WARNING, remedy)
    else:
        yield Check("OMP_NUM_THREADS", f"{text or 'not set, so 1'} ({cores} cores)")


def _cpu_quota() -> float | None:
    """Return how many cores a container may use; None: all."""
    try:
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text().split()
    except (OSError, ValueError):
        return None
    return None if quota == "max" else int(quota) / int(period)


def devices() -> Check:
    """Return the GPUs, or one that PyTorch cannot use."""
    import torch

    if torch.cuda.is_available():
        names = [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())]
        return Check("devices", f"{len(names)} GPUs: {', '.join(names)}")
    if shutil.which("nvidia-smi") or Path("/dev/nvidia0").exists():
        built = f"is built for CUDA {torch.version.cuda}" if torch.version.cuda else "is built without CUDA"
        remedy = "install the PyTorch that fits the driver: https://pytorch.org/get-started/locally/"
        return Check("devices", f"there is a GPU, and PyTorch cannot use it: it {built}", WARNING, remedy)
    return Check("devices", "cpu")


def folders(output: Path) -> Iterator[Check]:
    """Yield the folders that are written to, those of the runs below `output`."""
    yield _folder("data (PGSBENCH_DATA)", store.root(), "PGSBENCH_DATA=DIR")
    for name in ("runs", "reports"):
        yield _folder(name, output / name, "--output DIR")
    shared = Path("/dev/shm")
    if shared.is_dir() and (size := shutil.disk_usage(shared).total / 2**30) < SHARED_MEMORY_GIB:
        remedy = "start the container with --shm-size=2g: readers of streamed data need it"
        yield Check("shared memory", f"{size:.2f} GiB", WARNING, remedy)


def _folder(what: str, folder: Path, option: str) -> Check:
    other = f"name another folder: {option}"
    if reason := unwritable(folder):
        return Check(what, f"{folder}: {reason}", PROBLEM, other)
    place = next(one for one in (folder.absolute(), *folder.absolute().parents) if one.exists())
    free = shutil.disk_usage(place).free / 2**30
    found = f"{folder}: {free:,.1f} GiB free"
    if free < ROOM_GIB:
        return Check(what, found, PROBLEM if free < FULL_GIB else WARNING, f"make room, or {other}")
    if (kind := _disk_kind(place)) in _NETWORK_DISKS:
        return Check(what, f"{found}, on {kind}", WARNING, f"SQLite may break on a network disk: {other}")
    return Check(what, found)


def _disk_kind(place: Path) -> str:
    """Return the type of the file system that holds a folder; empty where that is not known."""
    try:
        lines = Path("/proc/mounts").read_text().splitlines()
    except OSError:
        return ""
    mounts = [line.split()[1:3] for line in lines if len(line.split()) > 2]
    holding = [(len(point), kind) for point, kind in mounts if place.is_relative_to(point)]
    return max(holding)[1] if holding else ""


def tracking() -> Check:
    """Return whether MLflow can keep its record."""
    uri = shown = os.environ.get("MLFLOW_TRACKING_URI", "")
    try:
        uri = resolve_uri()
        shown, file = without_password(uri), database_path(uri)
        if file is not None and not file.exists():  # MLflow would make an empty one
            return Check("MLflow", f"{file} (not made yet)")
        client = client_of(uri)
        if not uri.startswith("http"):
            client.search_experiments(max_results=1)
    except Exception as error:  # each store's library has errors of its own
        said = without_password(str(error)).strip().partition("\n")[0]
        return Check("MLflow", f"{shown}: {said}", PROBLEM, "mend it, or change MLFLOW_TRACKING_URI")
    return Check("MLflow", f"{shown} answers")


def cluster() -> Iterator[Check]:
    """Yield whether jobs can be submitted, where a file says what they ask for."""
    if not (path := cluster_file()).is_file():
        return
    try:
        read_profile()
    except ConfigError as error:
        yield Check("SLURM", str(error), PROBLEM, f"mend {path}")
        return
    if find_spec("submitit") is None:
        remedy = "in a clone of pgsbench: pip install '.[slurm]'"
        yield Check("SLURM", "submitit is not installed", PROBLEM, remedy)
    elif absent := [name for name in ("sbatch", "squeue", "scancel") if shutil.which(name) is None]:
        yield Check("SLURM", f"{path}, but no {', '.join(absent)} here", PROBLEM, "submit from a login node")
    else:
        yield Check("SLURM", f"profiles in {path}")


def network() -> Check:
    """Return whether public data and published weights can be fetched."""
    if is_offline():
        remedy = "unset HF_HUB_OFFLINE to fetch public data and published weights"
        return Check("network", "HF_HUB_OFFLINE is set: nothing is fetched", WARNING, remedy)
    try:
        socket.create_connection(("huggingface.co", 443), timeout=PATIENCE_SECONDS).close()
    except OSError:
        remedy = "what is generated works; export HF_HUB_OFFLINE=1, so that nothing waits for the network"
        return Check("network", "huggingface.co does not answer", WARNING, remedy)
    return Check("network", "huggingface.co answers")


def plugins() -> Iterator[Check]:
    """Yield the installed strategies and protocols that cannot be used."""
    for registry in (STRATEGIES, TEXT_STRATEGIES, PROTOCOLS):
        for name in registry.entry_points():
            try:
                registry.load(name)
            except PluginError as error:
                yield Check(f"installed {registry.kind} {name}", error.rule, WARNING, error.way_out)
