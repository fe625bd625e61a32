"""Memory that runs out is one message with the numbers, and the last state is kept."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from trainings import Training, run

from pgsbench.devices import memory_told
from pgsbench.errors import RunError
from pgsbench.models.masked_tower import Masking

GPU = "CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total capacity of 79.11 GiB"


def on_a_gpu() -> None:
    raise torch.OutOfMemoryError(GPU)


def run_out_at_step(monkeypatch: pytest.MonkeyPatch, step: int, shortage: Callable[[], None]) -> None:
    before = Masking.begin_step

    def begin_step(self: Masking, **place: Any) -> None:
        if place["step"] == step - 1:
            shortage()
        before(self, **place)

    monkeypatch.setattr(Masking, "begin_step", begin_step)


@pytest.mark.parametrize(
    ("shortage", "said"),
    [
        (on_a_gpu, "CUDA out of memory. Tried to allocate 2.00 GiB"),
        (
            lambda: torch.empty(10**15),
            "can't allocate memory: you tried to allocate 4000000000000000",
        ),
        (lambda: np.ones(10**15), "Unable to allocate 7.11 PiB"),
        (lambda: bytearray(10**16), "MemoryError"),
    ],
)
def test_memory_that_runs_out_is_known_by_what_it_says(shortage: Callable[[], object], said: str) -> None:
    with pytest.raises(RunError) as raised, memory_told(RunError):
        shortage()
    assert said in raised.value.rule


def test_a_step_without_memory_says_which_and_what_it_held(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    training = Training().changed(micro_batch_size=8, checkpoint_every_steps=2)
    with monkeypatch.context() as patch:
        run_out_at_step(patch, 4, on_a_gpu)
        with pytest.raises(RunError) as raised:
            run(training, tmp_path)
    assert raised.value.where == "step 4, rank 0"
    assert raised.value.rule == "memory ran out: 16 pairs on this device, 8 at a time"
    assert raised.value.value == GPU
    assert "training.micro_batch_size below 8" in raised.value.way_out
    assert len(run(training.changed(micro_batch_size=4), tmp_path).losses) == 4, "the last state was kept"


def test_what_ran_out_is_not_held_by_the_message() -> None:
    held = list[Any]()

    def forward() -> None:
        activations = torch.ones(8)
        held.append(weakref.ref(activations))
        on_a_gpu()

    with pytest.raises(RunError) as raised, memory_told(RunError):
        forward()
    assert raised.value.rule.startswith("CUDA out of memory")
    assert held[0]() is None
