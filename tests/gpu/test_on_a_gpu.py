"""What only a GPU can show; `make gpu` runs it. Nobody has yet: see docs/gpu.md."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any

import pytest
import torch

from pgsbench.config.schema import TrainingConfig
from pgsbench.data.samples import Batch
from pgsbench.masking import CARDS
from pgsbench.masking.configure import configure
from pgsbench.masking.noise import Draws
from pgsbench.masking.testing import make_view
from pgsbench.masking.text.none import WholeText
from pgsbench.models.clip import build, contrastive_loss
from pgsbench.models.masked_tower import attach
from pgsbench.models.text_masking import TextMasking
from pgsbench.training.loop import autocast
from pgsbench.training.optim import adamw
from pgsbench.training.step import GradientStep, Towers

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU"),
]

#: The length of pgs-released depends on the batch, as published, so the host has to know.
STRATEGIES = [name for name in CARDS if name != "pgs-released"]


def test_a_gpu_draws_the_numbers_of_the_cpu() -> None:
    for seed in range(10):
        here, there = (Draws.of_batch(512, seed=seed, device=device) for device in ("cpu", "cuda"))
        assert torch.equal(here.uniform(3, 196), there.uniform(3, 196).cpu())


@pytest.mark.parametrize("name", ["random", "flip", "grid", "centred", "block", "oracle"])
def test_masks_that_draw_alone_are_the_cpus(name: str) -> None:
    view = make_view((14, 14), (16, 16), 64)
    moved: dict[str, Any] = {
        field.name: value.cuda()
        for field in dataclasses.fields(view)
        if isinstance(value := getattr(view, field.name), torch.Tensor)
    }
    there = dataclasses.replace(view, device=torch.device("cuda"), **moved)
    one = configure(name, {}).select(view, draws=Draws.of_batch(64, seed=1)).keep
    other = configure(name, {}).select(there, draws=Draws.of_batch(64, seed=1, device="cuda")).keep
    assert torch.equal(one, other.cpu())


class Steps:
    """Training steps of a small model on a GPU, whose batches lie there."""

    def __init__(self, name: str, *, compiled: bool = False, precision: str = "auto") -> None:
        device = torch.device("cuda")
        config = TrainingConfig(precision=precision)  # type: ignore[arg-type]
        self.clip = build("tiny-vit", seed=0, device=device)
        self.masking = attach(self.clip.model, configure(name, {}))
        towers: Any = Towers(self.clip, TextMasking(self.clip, WholeText()))
        self.scaler = torch.amp.GradScaler("cuda", enabled=precision == "fp16")
        self.gradient = GradientStep(
            torch.compile(towers) if compiled else towers,
            self.clip,
            self.masking,
            contrastive_loss(),
            in_precision=lambda: autocast(config, device),
            scaler=self.scaler,
            device=device,
        )
        self.optimizer = adamw(self.clip.model.train(), config)
        self.batch = Batch(
            torch.randint(0, 256, (64, 3, 32, 32), dtype=torch.uint8, device=device),
            torch.randint(1, 400, (64, 24), device=device),
            torch.ones(64, 32, 32, dtype=torch.uint8, device=device),
            torch.arange(64, device=device),
            torch.arange(64, device=device),
        )
        self.number = 0

    def __call__(self) -> torch.Tensor:
        self.optimizer.zero_grad()
        loss = self.gradient(self.batch, self.batch.texts, seed=0, step=self.number, progress=0.5)
        self.scaler.unscale_(self.optimizer)
        torch.nn.utils.clip_grad_norm_(self.clip.model.parameters(), 1.0)
        self.scaler.step(self.optimizer)
        self.scaler.update()
        self.number += 1
        return loss


@pytest.fixture
def no_waiting() -> Iterator[None]:
    yield
    torch.cuda.set_sync_debug_mode("default")


@pytest.mark.usefixtures("no_waiting")
@pytest.mark.parametrize("name", STRATEGIES)
def test_a_step_never_waits_for_the_host(name: str) -> None:
    step = Steps(name)
    for _ in range(2):  # the first answer of a strategy is checked, and tables are made once
        step()
    torch.cuda.set_sync_debug_mode("error")
    for _ in range(3):
        step()


@pytest.mark.parametrize("name", ["none", "random", "pgs"])
def test_a_compiled_model_keeps_its_graphs(name: str) -> None:
    step = Steps(name, compiled=True)
    for _ in range(2):
        step()
    with torch._dynamo.config.patch(error_on_recompile=True):
        for _ in range(3):
            step()


@pytest.mark.parametrize("precision", ["fp32", "bf16", "fp16"])
def test_every_precision_gives_a_finite_loss(precision: str) -> None:
    step = Steps("random", precision=precision)
    assert all(bool(torch.isfinite(step())) for _ in range(5))
