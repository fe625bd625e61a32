"""Saved states: whole or not there, whatever interrupts a write; what is kept; what comes back."""

from __future__ import annotations

import resource
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from pgsbench.errors import RunError
from pgsbench.training import state
from pgsbench.training.meter import Totals
from pgsbench.training.optim import restore_moments

CPU = torch.device("cpu")


class NoMask:
    """What a state asks of a mask."""

    def ema_state(self) -> dict[str, Tensor]:
        return {}

    def load_ema_state(self, weights: object) -> None:
        assert not weights


def trained(value: float = 0.0) -> state.Trained:
    model = nn.Linear(2, 2)
    nn.init.constant_(model.weight, value)
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.5, betas=(0.9, 0.98))
    model(torch.ones(1, 2)).sum().backward()
    optimizer.step()
    return state.Trained(model, NoMask(), optimizer, torch.amp.GradScaler("cpu", enabled=False))  # type: ignore[arg-type]


def folders(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_what_is_saved_comes_back(tmp_path: Path) -> None:
    before, after = trained(1.0), trained(2.0)
    totals = Totals(samples=7, train_seconds=1.5, masked_share_sum=0.25)
    state.save(tmp_path, before, step=3, totals=totals)
    assert state.restore(tmp_path, after, device=CPU) == (3, totals)
    assert torch.equal(before.model.weight, after.model.weight)  # type: ignore[arg-type]
    one, other = before.optimizer.state_dict(), after.optimizer.state_dict()
    for number, values in one["state"].items():
        for name, value in values.items():
            assert torch.equal(value, other["state"][number][name])
    assert other["param_groups"][0]["lr"] == 0.5
    after.model(torch.ones(1, 2)).sum().backward()
    after.optimizer.step()


def test_the_last_states_are_kept(tmp_path: Path) -> None:
    for step in (2, 4, 6, 8):
        state.save(tmp_path, trained(), step=step, totals=Totals(), keep=2)
    assert folders(tmp_path) == ["step-00000006", "step-00000008"]
    shutil.rmtree(tmp_path / "step-00000008")
    assert state.restore(tmp_path, trained(), device=CPU)[0] == 6


def test_of_a_damaged_state_the_one_before_is_taken(tmp_path: Path) -> None:
    for step in (2, 4):
        state.save(tmp_path, trained(), step=step, totals=Totals(), keep=2)
    (tmp_path / "step-00000004" / "tensors.safetensors").write_bytes(b"cut")
    assert state.restore(tmp_path, trained(), device=CPU)[0] == 2
    (tmp_path / "step-00000002" / "state.json").unlink()
    with pytest.raises(RunError, match="cannot be read"):
        state.restore(tmp_path, trained(), device=CPU)


def test_a_state_that_does_not_fit_into_memory_is_not_called_damaged(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    state.save(tmp_path, trained(), step=2, totals=Totals(), keep=1)

    def load_file(*_: Any, **__: Any) -> Any:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")

    monkeypatch.setattr(state, "load_file", load_file)
    with pytest.raises(torch.OutOfMemoryError):
        state.restore(tmp_path, trained(), device=CPU)


def test_counts_of_steps_are_restored_to_where_their_parameters_lie() -> None:
    class LikeZero:
        """Leaves them elsewhere, as ZeroRedundancyOptimizer does."""

        def __init__(self) -> None:
            self.optim = torch.optim.AdamW([nn.Parameter(torch.zeros(2, device="meta"))])

        def load_state_dict(self, saved: dict[str, Any]) -> None:
            (parameter,) = self.optim.param_groups[0]["params"]
            self.optim.state[parameter] = {"step": saved["step"], "exp_avg": torch.ones(2)}

    optimizer: Any = LikeZero()
    restore_moments(optimizer, {"step": torch.zeros(())})
    (moments,) = optimizer.optim.state.values()
    assert moments["step"].device.type == "meta"


class Killed(BaseException):
    """Stands for SIGKILL: nothing cleans up behind it."""


@pytest.fixture
def interrupted(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """A list whose number says before which of the operations on files the next write is killed."""
    left = [0]

    def counted(function: Any) -> Any:
        def call(*args: Any, **options: Any) -> Any:
            left[0] -= 1
            if left[0] == 0:
                raise Killed
            return function(*args, **options)

        return call

    def half_written(tensors: Any, path: Path) -> None:
        left[0] -= 1
        if left[0] == 0:
            path.write_bytes(b"half of it")
            raise Killed
        SAVE_FILE(tensors, path)

    monkeypatch.setattr(state, "save_file", half_written)
    monkeypatch.setattr(state, "_to_disk", counted(lambda path: None))  # a thousand would take minutes
    monkeypatch.setattr(state.shutil, "rmtree", counted(shutil.rmtree))
    for name in ("mkdir", "rename", "write_text"):
        monkeypatch.setattr(Path, name, counted(getattr(Path, name)))
    return left


SAVE_FILE = state.save_file


def test_a_write_that_is_killed_anywhere_leaves_a_whole_state(tmp_path: Path, interrupted: list[int]) -> None:
    last, killed = 0, set()
    content = trained()
    for step in range(1, 1001):
        point = 1 + step // 20 % 12 if step % 20 == 0 else 0
        interrupted[0] = point
        try:
            state.save(tmp_path, content, step=step, totals=Totals(samples=step), keep=1)
            last = step
        except Killed:
            killed.add(point)
            interrupted[0] = 0
            found, totals = state.restore(tmp_path, content, device=CPU)
            assert found in (last, step), "the state before, or the new one, whole"
            assert totals.samples == found
            last = found
    interrupted[0] = 0
    assert len(killed) >= 9, "at as many places"
    state.save(tmp_path, content, step=2000, totals=Totals())
    assert folders(tmp_path) == ["step-00002000"]


def test_a_full_disk_leaves_the_state_before_and_tells_the_numbers(tmp_path: Path) -> None:
    state.save(tmp_path, trained(), step=1, totals=Totals())
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(
        resource.RLIMIT_FSIZE, (100, hard)
    )  # the system refuses what is longer, in any library
    try:
        with pytest.raises(RunError) as raised:
            state.save(tmp_path, trained(), step=2, totals=Totals())
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    said = raised.value.rule
    assert "the state after step 2 cannot be written: " in said
    assert "File too large" in said
    assert folders(tmp_path) == ["step-00000001"], "half a state takes no room"
    assert state.restore(tmp_path, trained(), device=CPU)[0] == 1
