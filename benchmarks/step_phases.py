"""Where the time of a training step goes, seen from outside of the loop that is measured.

Hooks on the model and on the optimizer mark the ends of phases, so any loop can be measured as it is: ours
and that of open_clip.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import torch
from torch import nn
from torch.optim.optimizer import register_optimizer_step_post_hook, register_optimizer_step_pre_hook

from benchmarks.timing import now
from pgsbench.masking.base import Strategy

#: In the order of a step. The loss belongs to the backward pass; what a loop does between the optimizer and
#: the next batch, as logging, to the optimizer.
PHASES = ("data", "mask", "forward", "backward", "optimizer")

T = TypeVar("T")


class StepPhases:
    """Measures the phases of steps; the steps of one loop follow each other.

    Args:
        device: On which the model is: on a CPU seconds are those of the processor.

    Attributes:
        steps: Seconds by phase, of each step that has ended.
    """

    def __init__(self, device: torch.device) -> None:
        self._device, self._last = device, 0.0
        self._open: dict[str, float] = defaultdict(float)
        self.steps: list[dict[str, float]] = []

    def batches(self, batches: Iterable[T]) -> Iterator[T]:
        """Yield batches; a step begins when one is asked for."""
        source = iter(batches)
        while True:
            self._end_step()
            try:
                batch = next(source)
            except StopIteration:
                return
            yield batch

    @contextmanager
    def watching(self, model: nn.Module) -> Iterator[None]:
        """Mark the phases of a loop that trains `model`."""

        def mark(phase: str) -> Any:
            return lambda *_: self._mark(phase)

        hooks = [
            model.register_forward_pre_hook(mark("data")),
            model.register_forward_hook(mark("forward")),
            register_optimizer_step_pre_hook(mark("backward")),
            register_optimizer_step_post_hook(mark("optimizer")),
        ]
        self._last = now(self._device)
        self._open.clear()
        try:
            yield
        finally:
            for hook in hooks:
                hook.remove()
            self._end_step()

    @contextmanager
    def masking(self) -> Iterator[None]:
        """Count what happens inside of the forward pass as the mask's."""
        self._mark("forward")
        yield
        self._mark("mask")

    def _mark(self, phase: str) -> None:
        time = now(self._device)
        self._open[phase] += time - self._last
        self._last = time

    def _end_step(self) -> None:
        if "optimizer" in self._open:
            self._mark("optimizer")
            self.steps.append({phase: self._open[phase] for phase in PHASES})
        self._open.clear()
        self._last = now(self._device)


def count_as_mask(strategy: Strategy, phases: StepPhases) -> None:
    """Make a strategy, which nobody else may use, tell `phases` when it works."""

    def timed(method: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            with phases.masking():
                return method(*args, **kwargs)

        return call

    for name in ("select", "fuse"):
        if method := getattr(strategy, name, None):
            object.__setattr__(strategy, name, timed(method))  # strategies are frozen
