"""Runs as tasks of a cluster of Dask, which any scheduler or machine may start."""

from __future__ import annotations

from concurrent.futures import Future
from pathlib import Path

from pgsbench.errors import ConfigError, StudyError
from pgsbench.execution.engine import Engine, Slots
from pgsbench.execution.run import Stop, run_apart
from pgsbench.records.run_spec import RunSpec
from pgsbench.tracking.rundir import RunDir

#: A scheduler that does not answer by then is not there.
ANSWER_SECONDS = 10


class DaskEngine(Engine):
    """The workers of a cluster of Dask, which any machine may start that sees the folder of runs.

    Runs on GPUs ask for the resource ``GPU``, one for each device: ``dask worker --resources GPU=1``.

    Args:
        address: Of its scheduler, such as ``tcp://head:8786``.
        device: ``cpu`` or ``cuda``; ``auto``: what the first worker has.
        threads: CPU threads of a run, of each of its processes.
        devices_per_run: Devices that train a run together.
        runs_root: The folder of all studies.

    Raises:
        StudyError: Dask is not installed.
        ConfigError: Nobody answers at the address.
    """

    def __init__(
        self, address: str, *, device: str, threads: int, devices_per_run: int, runs_root: Path
    ) -> None:
        try:
            from distributed import Client
        except ImportError:
            way_out = "in a clone of pgsbench: pip install '.[dask]'"
            raise StudyError("Dask is not installed", where="--on dask", way_out=way_out) from None
        try:
            self._client = Client(address, timeout=ANSWER_SECONDS)
        except (OSError, ValueError) as error:
            rule = f"no scheduler of Dask answers ({error})"
            raise ConfigError(rule, where="--on", value=address) from None
        kind = self._client.submit(_kind_here, pure=False).result() if device == "auto" else device
        self._root, self._asked = runs_root, set[str]()
        numbers = range(devices_per_run)
        devices = [f"cuda:{number}" if kind == "cuda" else kind for number in numbers]
        self.slots = Slots((",".join(devices),), threads, are_here=False)
        self._resources = {"GPU": devices_per_run} if kind == "cuda" else {}

    def __enter__(self) -> DaskEngine:
        self._executor = self._client.get_executor(pure=False, resources=self._resources)
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is not None:
            self._client.run(_stop_here, list(self._asked))
        self._executor.shutdown(wait=True)

    @property
    def places(self) -> int:
        """One run a worker, and one that waits, so that a cluster that adapts knows to grow."""
        return len(self._client.scheduler_info(n_workers=-1)["workers"]) + 1

    def submit(self, spec: RunSpec, run: RunDir) -> Future[None]:
        """Give a run to whichever worker is free."""
        del run
        self._asked.add(spec.id)
        devices = self.slots.devices[0].split(",")
        future: Future[None] = self._executor.submit(
            _run_on_worker, spec, self._root, devices, self.slots.threads
        )
        return future


def _kind_here() -> str:
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"


#: In a worker of Dask: what stops each of its runs, by id.
_stops: dict[str, Stop] = {}


def _run_on_worker(spec: RunSpec, runs_root: Path, devices: list[str], threads: int) -> None:
    # In processes of its own: a worker's tasks are threads, and a model must leave no memory behind.
    _stops[spec.id] = Stop()
    try:
        run_apart(spec, runs_root, devices=devices, threads=threads, stop=_stops[spec.id])
    finally:
        del _stops[spec.id]


def _stop_here(run_ids: list[str]) -> None:
    for run_id, stop in list(_stops.items()):
        if run_id in run_ids:
            stop.event.set()
