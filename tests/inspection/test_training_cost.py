"""`pgsbench bench train` measures real loops, and gives each phase its own time."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from pgsbench.inspection import step_phases
from pgsbench.inspection.step_phases import PHASES, StepPhases, count_as_mask
from pgsbench.inspection.training_cost import OPEN_CLIP, bench_training
from pgsbench.masking.random import Random
from pgsbench.reporting.render import Table


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


def test_hooks_do_not_outlive_the_watch(clock: Clock) -> None:
    phases = StepPhases(torch.device("cpu"))
    model = nn.Linear(2, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with phases.watching(model):
        pass
    model(torch.ones(1, 2)).sum().backward()
    optimizer.step()
    with phases.watching(model):
        pass
    assert phases.steps == []


def test_a_strategys_work_is_the_masks(clock: Clock) -> None:
    phases = StepPhases(torch.device("cpu"))
    strategy = Random(0.5)
    count_as_mask(strategy, phases)
    assert strategy == Random(0.5)  # it is still the same strategy
    with pytest.raises(AttributeError):
        strategy.select(None, draws=None)  # type: ignore[arg-type]  # it does call the real one


@pytest.fixture(scope="module")
def table() -> Table:
    return bench_training("tiny-vit", strategies=["flip"], batch_size=4, steps=2, turns=2)


def test_every_loop_is_measured_on_the_same_model_and_batch(table: Table) -> None:
    assert [row[0] for row in table.cells()] == ["none", "flip", OPEN_CLIP]
    none, flip, theirs = (dict(zip(table.names, row, strict=True)) for row in table.cells())
    assert none["time x none"] == "1.000"
    assert none["FLOP x none"] == theirs["FLOP x none"] == "1.000"
    assert 0.5 < float(flip["FLOP x none"]) < 1.0
    assert "medians of 2 steps" in " ".join(table.notes)


def test_phases_take_time_and_add_up_to_the_step(table: Table) -> None:
    for row in table.cells():
        cells = dict(zip(table.names, row, strict=True))
        parts = {phase: float(cells[f"{phase} ms"]) for phase in PHASES}
        assert min(parts["forward"], parts["backward"], parts["optimizer"]) > 0, row
        # medians of two steps need not add up to the digit
        assert sum(parts.values()) == pytest.approx(float(cells["step ms"]), rel=0.5, abs=1), row


def test_masked_steps_need_less_memory() -> None:
    table = bench_training("scenes-vit", strategies=["flip"], batch_size=32, steps=1, turns=1)
    none, flip, _ = (int(row[-1].replace(",", "")) for row in table.cells())
    assert flip < none
