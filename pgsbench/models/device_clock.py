"""Seconds of work on a device, measured without waiting for it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

import torch


class DeviceClock:
    """Adds up what blocks of code take; on a GPU by events, which are read when somebody asks."""

    def __init__(self) -> None:
        self._seconds = 0.0
        self._pending: list[tuple[torch.cuda.Event, torch.cuda.Event]] = []

    @property
    def seconds(self) -> float:
        """Seconds in all; on a GPU this waits for the device."""
        for start, end in self._pending:
            end.synchronize()
            self._seconds += start.elapsed_time(end) / 1000.0
        self._pending.clear()
        return self._seconds

    @contextmanager
    def running(self, device: torch.device) -> Iterator[None]:
        """Count what the block does on a device."""
        if device.type != "cuda":
            start = time.perf_counter()
            yield
            self._seconds += time.perf_counter() - start
            return
        while self._pending and self._pending[0][1].query():  # type: ignore[no-untyped-call]  # torch's
            begun, ended = self._pending.pop(0)
            self._seconds += begun.elapsed_time(ended) / 1000.0
        begun, ended = (torch.cuda.Event(enable_timing=True) for _ in range(2))  # type: ignore[no-untyped-call]  # torch's
        begun.record()
        yield
        ended.record()
        self._pending.append((begun, ended))
