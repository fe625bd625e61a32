"""What choosing a mask costs: milliseconds by strategy, measured side by side.

On a CPU that is the time of the processor, summed over all threads, which other load on the machine hardly
changes; on a GPU it is the time from the call to the end of its work.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.weak import WeakIdKeyDictionary

from pgsbench.masking.base import PatchView, Selection, Strategy
from pgsbench.masking.noise import Draws


@dataclass(frozen=True)
class MaskCost:
    """What one strategy costs for one batch.

    Attributes:
        name: The strategy's name in the measurement.
        milliseconds: Median time of `select`; where it looks at attention, that has been computed before.
        fastest_milliseconds: The fastest repetition, which other load on the machine disturbs least.
        num_kept: Patches of each picture that the tower has to carry.
        effective_ratio: Share of patches without influence.
        peak_bytes: Memory beyond what was held before, at its peak. On CUDA the allocator tells it; elsewhere
            it is that of all tensors alive at once, without what an operation needs inside.
    """

    name: str
    milliseconds: float
    fastest_milliseconds: float
    num_kept: int
    effective_ratio: float
    peak_bytes: int


def example_view(
    grid: tuple[int, int],
    patch_size: tuple[int, int],
    batch_size: int,
    *,
    width: int,
    device: torch.device,
    progress: float = 0.5,
) -> PatchView:
    """Return a batch to measure on: smooth random pictures, random tokens and attention, a box as object.

    Time depends on shapes and hardly on content; nearly equal patches would be an exception, so the
    pictures have structure at the scale of several patches and noise on top.
    """
    random = torch.Generator().manual_seed(0)
    h, w = grid[0] * patch_size[0], grid[1] * patch_size[1]
    coarse = torch.randn(batch_size, 3, 5, 5, generator=random)
    images = torch.nn.functional.interpolate(coarse, size=(h, w), mode="bilinear")
    images += 0.2 * torch.randn(images.shape, generator=random)
    n = grid[0] * grid[1]
    tokens = torch.randn(batch_size, n, width, generator=random)
    return PatchView(
        grid=grid,
        patch_size=patch_size,
        batch_size=batch_size,
        device=device,
        progress=progress,
        images=images.to(device),
        tokens=tokens.to(device),
        position=torch.randn(n, width, generator=random).to(device),
        attention=torch.rand(batch_size, n, generator=random).softmax(dim=1).to(device),
        objects=(torch.arange(n, device=device) < n // 3).float().expand(batch_size, -1),
    )


def costs(cases: Mapping[str, tuple[Strategy, PatchView]], *, repetitions: int = 20) -> list[MaskCost]:
    """Measure strategies, each on its batch, in turns, so that a busy moment strikes them alike."""
    times: dict[str, list[float]] = {name: [] for name in cases}
    calls = {name: _call(strategy, view) for name, (strategy, view) in cases.items()}
    selections = {}
    peaks = {}
    with torch.no_grad():
        for name, (_, view) in cases.items():  # the first call warms up; it is not counted
            peaks[name] = peak_bytes(calls[name], view.device)
        for _ in range(repetitions):
            for name, (_, view) in cases.items():
                start = now(view.device)
                selections[name] = calls[name]()
                times[name].append(1000.0 * (now(view.device) - start))
    return [
        MaskCost(
            name,
            milliseconds=_median(times[name]),
            fastest_milliseconds=min(times[name]),
            num_kept=selections[name].keep.shape[1],
            effective_ratio=float(selections[name].effective_ratio(view.num_patches)),
            peak_bytes=peaks[name],
        )
        for name, (_, view) in cases.items()
    ]


def _call(strategy: Strategy, view: PatchView) -> Callable[[], Selection]:
    return lambda: strategy.select(view, draws=_draws(view))


def _draws(view: PatchView) -> Draws:
    return Draws.of_batch(view.batch_size, seed=0, device=view.device)


def fastest(part: Callable[[], object], device: torch.device, repetitions: int) -> float:
    """Return the shortest time of a call in milliseconds; one more call before warms up."""
    part()
    times = []
    for _ in range(repetitions):
        start = now(device)
        part()
        times.append(1000.0 * (now(device) - start))
    return min(times)


def _median(values: Sequence[float]) -> float:
    return sorted(values)[len(values) // 2]


def now(device: torch.device) -> float:
    """Return seconds: those of the processor on a CPU, after all work that was given to a GPU else."""
    if device.type == "cpu":
        return time.process_time()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()


def peak_bytes(call: Callable[[], object], device: torch.device) -> int:
    """Return the memory that a call takes at its peak, beyond what was held before; see `MaskCost`."""
    if device.type != "cuda":
        with _TensorsAlive() as alive:
            call()
        return int(alive.peak_bytes)
    before = torch.cuda.memory_allocated(device)
    torch.cuda.reset_peak_memory_stats(device)
    call()
    return int(torch.cuda.max_memory_allocated(device)) - before


class _TensorsAlive(TorchDispatchMode):  # type: ignore[no-untyped-call]  # torch's
    """Adds up the memory of the tensors that operations make, as long as they live.

    A CPU's allocator keeps no account, and torch's profiler, which does, writes to the user's terminal.
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # torch's
        self.peak_bytes = 0
        self._alive: Any = WeakIdKeyDictionary()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        given = _storages((args, kwargs))
        result = func(*args, **(kwargs or {}))
        known = {id(storage) for storage in given}
        for storage in _storages(result):
            if id(storage) not in known:  # else it is a view, or was changed in place
                self._alive[storage] = storage.nbytes()
        self.peak_bytes = max(self.peak_bytes, sum(self._alive.values()))
        return result


def _storages(values: object) -> list[torch.UntypedStorage]:
    tensors = [value for value in tree_leaves(values) if isinstance(value, torch.Tensor)]
    return [tensor.untyped_storage() for tensor in tensors if tensor.layout == torch.strided]  # sparse: none
