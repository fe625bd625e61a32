"""The memory of a step by plan is what a training holds."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch

from benchmarks.timing import peak_bytes
from pgsbench.config.schema import RunConfig
from pgsbench.data.samples import MadeUp
from pgsbench.masking.configure import configure
from pgsbench.masking.text.strategies import WholeText
from pgsbench.models import checkpoint
from pgsbench.models.masked_tower import attach
from pgsbench.models.start import build_for
from pgsbench.models.step_memory import step_memory
from pgsbench.models.text_masking import TextMasking
from pgsbench.training.loop import train

CPU = torch.device("cpu")


def config_of(strategy: str = "none", *, batch_size: int = 64, **changed: Any) -> RunConfig:
    model = {"name": "tiny-vit"} | {key: changed.pop(key) for key in ("locked",) if key in changed}
    training = {"batch_size": batch_size, "samples": 2 * batch_size, "unmasked_tuning": {"share": 0}}
    return RunConfig(model=model, strategy={"name": strategy}, training=training | changed)


@pytest.mark.parametrize(
    "config",
    [
        config_of(),
        config_of(micro_batch_size=32),
        config_of(precision="bf16"),
        config_of("flip", locked="image"),
    ],
    ids=("none", "micro-batches", "bf16", "locked"),
)
def test_the_plan_is_near_the_peak_of_a_training(config: RunConfig, tmp_path: Path) -> None:
    clip = build_for(config, seed=0)
    masking = attach(clip.model, configure(config.strategy.name, config.strategy.fields))
    train_it = partial(
        train,
        clip,
        masking,
        TextMasking(clip, WholeText()),
        MadeUp(clip.tokenize, clip.image_size),
        config.training,
        seed=0,
        device=CPU,
        state_folder=tmp_path,
        emit=lambda _: None,
    )
    planned = step_memory(config, device_type="cpu")
    assert planned.peak is not None
    assert planned.peak - planned.weights == pytest.approx(peak_bytes(train_it, CPU), rel=0.1)


def test_what_lies_on_disk(tmp_path: Path) -> None:
    config = config_of()
    checkpoint.save(build_for(config, seed=0), tmp_path)
    size = (tmp_path / checkpoint.WEIGHTS_FILE).stat().st_size
    assert step_memory(config, device_type="cpu").checkpoint == pytest.approx(size, rel=0.01)


def test_what_takes_less() -> None:
    def activations(strategy: str = "none", *, num_devices: int = 1, **changed: Any) -> int:
        found = step_memory(config_of(strategy, **changed), device_type="cpu", num_devices=num_devices)
        assert found.activations is not None
        return found.activations

    whole = activations()
    assert activations(num_devices=4) < 0.3 * whole
    assert activations(micro_batch_size=16) < 0.3 * whole
    assert activations("flip") < 0.8 * whole
    assert activations("flip", unmasked_tuning={"share": 0.15}) == whole, (
        "its last phase is on whole pictures"
    )
    shared = step_memory(config_of(shard_optimizer=True), device_type="cpu", num_devices=4)
    assert shared.optimizer == shared.gradients // 2, "two moments, a quarter of each"
    assert shared.state == step_memory(config_of(), device_type="cpu").state
    watched = step_memory(config_of("attentive"), device_type="cpu")
    assert watched.weights > watched.checkpoint, "a second image tower"
