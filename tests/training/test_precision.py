"""Half precision and compilation change a training by rounding only."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from trainings import Training, run

from pgsbench.errors import Interrupted


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_half_precision_trains_nearly_alike(precision: str, tmp_path: Path) -> None:
    whole = run(Training(), tmp_path / "fp32")
    half = run(Training().changed(precision=precision), tmp_path / precision)
    assert half.losses == pytest.approx(whole.losses, abs=0.05)
    assert half.losses != whole.losses


@pytest.mark.parametrize("size", [None, 4])
def test_a_half_trained_run_in_fp16_goes_on_exactly(size: int | None, tmp_path: Path) -> None:
    # The scale of the loss is part of the state.
    training = Training().changed(precision="fp16", micro_batch_size=size)
    whole = run(training, tmp_path / "whole")
    run_until(training, tmp_path / "cut", steps=3)
    assert run(training, tmp_path / "cut").losses == whole.losses[3:]


def run_until(training: Training, folder: Path, *, steps: int) -> None:
    with pytest.raises(Interrupted):
        run(replace(training, stop_after=steps), folder)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # torch.compile warns of itself
def test_a_compiled_model_trains_alike(tmp_path: Path) -> None:
    plain = run(Training("pgs"), tmp_path / "plain")
    compiled = run(Training("pgs").changed(compile=True), tmp_path / "compiled")
    assert compiled.losses == pytest.approx(plain.losses, rel=1e-4)


def test_a_process_begins_to_compile_anew_with_every_arm(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    # Else the ninth arm would find the eight graphs taken that torch keeps of a function, and run uncompiled.
    calls: list[str] = []
    monkeypatch.setattr(torch.compiler, "reset", lambda: calls.append("reset"))
    monkeypatch.setattr(torch, "compile", lambda module: calls.append("compile") or module)
    run(Training().changed(compile=True, samples=16), tmp_path)
    assert calls == ["reset", "compile"]
