"""The cost of a training step is that of real loops, and each phase gets its own time."""

from __future__ import annotations

import pandas as pd
import pytest
import torch
from torch import nn

from benchmarks import step_phases
from benchmarks.step_phases import StepPhases, count_as_mask
from benchmarks.train import DROPOUT, MASKED, OPEN_CLIP, training_costs
from pgsbench.masking.random import Random


class Clock:
    """Time that passes only when somebody works."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def __call__(self, device: torch.device) -> float:
        del device
        return self.seconds


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(step_phases, "now", clock)
    return clock


def test_each_phase_gets_its_own_time(clock: Clock) -> None:
    phases = StepPhases(torch.device("cpu"))

    class Tower(nn.Linear):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            clock.seconds += 3
            with phases.masking():
                clock.seconds += 100
            clock.seconds += 4
            return super().forward(x)

    class Sgd(torch.optim.SGD):
        def step(self, closure: object = None) -> None:  # type: ignore[override]  # as the loops call it
            del closure
            clock.seconds += 1000

    def read() -> object:
        for _ in range(2):
            clock.seconds += 1
            yield torch.ones(1, 2)

    model = Tower(2, 1)
    optimizer = Sgd(model.parameters(), lr=0.1)
    with phases.watching(model):
        for batch in phases.batches(read()):  # type: ignore[arg-type]  # a generator
            clock.seconds += 10  # normalises
            loss = model(batch).sum()
            clock.seconds += 20  # and the backward pass
            loss.backward()
            optimizer.step()
            clock.seconds += 5  # logs
    step = {"data": 11.0, "mask": 100.0, "forward": 7.0, "backward": 20.0, "optimizer": 1005.0}
    assert phases.steps == [step, step]


def test_a_strategys_work_is_the_masks(clock: Clock) -> None:
    phases = StepPhases(torch.device("cpu"))
    strategy = Random(0.5)
    count_as_mask(strategy, phases)
    assert strategy == Random(0.5)  # it is still the same strategy
    with pytest.raises(AttributeError):
        strategy.select(None, draws=None)  # type: ignore[arg-type]  # it does call the real one


@pytest.fixture(scope="module")
def table() -> pd.DataFrame:
    device = torch.device("cpu")
    costs = training_costs("scenes-vit", ["flip"], batch_size=4, steps=1, turns=1, device=device)
    return costs.set_index("loop")


def test_every_loop_is_measured_on_the_same_model_and_batch(table: pd.DataFrame) -> None:
    assert list(table.index) == ["none", "flip", OPEN_CLIP, DROPOUT, MASKED]
    assert table["time x none"]["none"] == 1
    assert table["FLOP x none"]["none"] == table["FLOP x none"][OPEN_CLIP] == 1
    masked = [table["FLOP x none"][name] for name in ("flip", DROPOUT, MASKED)]
    assert 0.5 < masked[0] == masked[1] == masked[2] < 1
    assert table["peak MiB"]["flip"] < table["peak MiB"]["none"]
