"""What only a GPU can show; `make gpu` runs it. Nobody has yet: see docs/one-gpu.md."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch

from pgsbench.config.training import TrainingConfig, UnmaskedTuning
from pgsbench.data.samples import Batch, MadeUp
from pgsbench.masking import STRATEGIES
from pgsbench.masking.configure import configure
from pgsbench.masking.noise import Draws
from pgsbench.masking.testing import make_view
from pgsbench.masking.text.strategies import WholeText
from pgsbench.models.clip import Clip, build, contrastive_loss
from pgsbench.models.masked_tower import attach
from pgsbench.models.text_masking import TextMasking
from pgsbench.training.loop import autocast, train
from pgsbench.training.optim import adamw
from pgsbench.training.step import GradientStep, Towers

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU"),
]

DEVICE = torch.device("cuda")
#: The length of pgs-released depends on the batch, as published, so the host has to know.
STRATEGIES = [name for name in STRATEGIES.builtin if name != "pgs-released"]
#: Those that should cost next to nothing: `attentive` runs a second tower, and the others merge or resize.
CHEAP = ["random", "flip", "grid", "block", "pgs"]


def moved(of: Any) -> dict[str, Any]:
    """Return the tensors of a dataclass by name, on the GPU."""
    values = {field.name: getattr(of, field.name) for field in dataclasses.fields(of)}
    return {name: value.to(DEVICE) for name, value in values.items() if isinstance(value, torch.Tensor)}


def test_a_gpu_draws_the_numbers_of_the_cpu() -> None:
    for seed in range(10):
        here, there = (Draws.of_batch(512, seed=seed, device=device) for device in ("cpu", "cuda"))
        assert torch.equal(here.uniform(3, 196), there.uniform(3, 196).cpu())


@pytest.mark.parametrize("name", ["random", "flip", "grid", "centred", "block", "oracle"])
def test_masks_that_draw_alone_are_the_cpus(name: str) -> None:
    view = make_view((14, 14), (16, 16), 64)
    there = dataclasses.replace(view, device=DEVICE, **moved(view))
    one = configure(name, {}).select(view, draws=Draws.of_batch(64, seed=1)).keep
    other = configure(name, {}).select(there, draws=Draws.of_batch(64, seed=1, device="cuda")).keep
    assert torch.equal(one, other.cpu())


class Steps:
    """Gradients and updates of a small model on a GPU, one by one; batches lie there."""

    def __init__(self, name: str, *, compiled: bool = False, precision: str = "auto") -> None:
        config = TrainingConfig(precision=precision)  # type: ignore[arg-type]
        self.clip = build("tiny-vit", seed=0, device=DEVICE)
        self.masking = attach(self.clip.model, configure(name, {}))
        towers: Any = Towers(self.clip, TextMasking(self.clip, WholeText()))
        self.scaler = torch.amp.GradScaler("cuda", enabled=precision == "fp16")
        self.gradient = GradientStep(
            torch.compile(towers) if compiled else towers,
            self.clip,
            self.masking,
            contrastive_loss(),
            in_precision=lambda: autocast(config, DEVICE),
            scaler=self.scaler,
            device=DEVICE,
        )
        self.optimizer = adamw(self.clip.model.train(), config)
        self.batch = Batch(
            torch.randint(0, 256, (64, 3, 32, 32), dtype=torch.uint8, device=DEVICE),
            torch.randint(1, 400, (64, 24), device=DEVICE),
            torch.ones(64, 32, 32, dtype=torch.uint8, device=DEVICE),
            torch.arange(64, device=DEVICE),
            torch.arange(64, device=DEVICE),
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


class Watched:
    """A reader in whose later batches nothing may wait for the host, but for the last step: it is logged."""

    has_objects = True

    def __init__(self, reader: MadeUp, steps: int) -> None:
        self.reader, self.steps = reader, steps

    def batches(self, **options: Any) -> Iterator[Batch]:
        for number, batch in enumerate(self.reader.batches(**options)):
            # Before, the first answer of a strategy is checked, and tables are made once.
            watched = 2 <= number < self.steps - 1
            torch.cuda.set_sync_debug_mode("error" if watched else "default")
            yield batch


class OnDevice(MadeUp):
    """A reader whose pairs lie on the device, the same ones in every step: nothing big is copied."""

    def batches(self, **options: Any) -> Iterator[Batch]:
        first = None
        for batch in super().batches(**options):
            first = first or dataclasses.replace(batch, **moved(batch))
            yield dataclasses.replace(first, samples=batch.samples, ids=batch.ids)


def trained(clip: Clip, name: str, reader: Any, folder: Path, **settings: Any) -> list[Mapping[str, float]]:
    """Train with the loop of every run; return what it logged."""
    lines: list[Mapping[str, float]] = []
    masking = attach(clip.model, configure(name, {}))
    train(
        clip,
        masking,
        TextMasking(clip, WholeText()),
        reader,
        TrainingConfig(checkpoint_every_steps=1000, unmasked_tuning=UnmaskedTuning(share=0.0), **settings),
        seed=0,
        device=DEVICE,
        state_folder=folder,
        emit=lines.append,
    )
    return lines


@pytest.fixture
def no_waiting() -> Iterator[None]:
    yield
    torch.cuda.set_sync_debug_mode("default")


@pytest.mark.filterwarnings("ignore:Synchronization debug mode")  # a prototype, torch says
@pytest.mark.usefixtures("no_waiting")
@pytest.mark.parametrize("name", STRATEGIES)
def test_a_step_never_waits_for_the_host(tmp_path: Path, name: str) -> None:
    clip, steps = build("tiny-vit", seed=0, device=DEVICE), 8
    reader = Watched(MadeUp(clip.tokenize, clip.image_size), steps)
    lines = trained(clip, name, reader, tmp_path, samples=64 * steps, batch_size=64, log_every_steps=steps)
    assert [line["step"] for line in lines] == [steps]


@pytest.mark.timeout(600)
@pytest.mark.parametrize("name", CHEAP)
def test_a_mask_takes_less_than_a_hundredth_of_a_step(tmp_path: Path, name: str) -> None:
    # The one place where a share of time is asserted. Batches lie on the GPU, so that no reader slows a step.
    clip = build("ViT-B-16", seed=0, device=DEVICE)
    reader = OnDevice(clip.tokenize, clip.image_size)
    settings = {"samples": 20 * 512, "batch_size": 512, "log_every_steps": 10}
    _, line = trained(clip, name, reader, tmp_path, **settings)  # the first has what is made once
    assert 0 < line["mask_share"] < 0.01


@pytest.mark.filterwarnings("ignore")  # the compiler's own
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
