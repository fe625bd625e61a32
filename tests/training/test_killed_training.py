"""A training that is killed by SIGKILL goes on, with any number of readers, to the curve of a quiet one."""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from tinyworld import TinyWorld

from pgsbench.config.schema import AugmentConfig, DataConfig, TrainingConfig
from pgsbench.data import shards, streaming
from pgsbench.data.samples import Batch, Tokenize, rank_slice
from pgsbench.data.streaming import Streamed
from pgsbench.masking.configure import configure
from pgsbench.masking.text.none import WholeText
from pgsbench.models.clip import build
from pgsbench.models.masked_tower import attach
from pgsbench.models.text_masking import TextMasking
from pgsbench.training import state
from pgsbench.training.loop import train

CONFIG = TrainingConfig(samples=96, batch_size=16, log_every_steps=1, checkpoint_every_steps=2)
AUGMENT = AugmentConfig(scale=(0.3, 1.0))

Curve = list[tuple[float, float]]
Emit = Callable[[dict[str, float]], None]


class Readers:
    """Reads as so many reader processes would, which take turns; without starting them."""

    has_objects = True

    def __init__(self, tiny: TinyWorld, tokenize: Tokenize, number: int) -> None:
        data = DataConfig(train=str(tiny.shards), augment=AUGMENT, workers=0)
        reader = shards.open_reader(shards.open_pairs(data), data, image_size=(32, 32), tokenize=tokenize)
        assert isinstance(reader, Streamed)
        self.reader, self.number = reader, number

    def batches(
        self, *, seed: int, batch_size: int, start_step: int = 0, rank: int = 0, world_size: int = 1
    ) -> Iterator[Batch]:
        part, turns = rank_slice(batch_size, rank, world_size), []
        for number in range(self.number):
            source = iter(streaming._Source(self.reader, seed, batch_size, start_step, part))
            turns.append((SimpleNamespace(id=number, num_workers=self.number), source))
        while True:
            for info, source in turns:
                with pytest.MonkeyPatch.context() as patch:
                    patch.setattr(streaming, "get_worker_info", lambda info=info: info)
                    yield next(source)  # type: ignore[misc]  # an error ends the test


def trained(tiny: TinyWorld, folder: Path, *, readers: int, emit: Emit) -> dict[str, torch.Tensor]:
    clip = build("tiny-vit", seed=3)
    masking = attach(clip.model, configure("attentive", {}))
    train(
        clip,
        masking,
        TextMasking(clip, WholeText()),
        Readers(tiny, clip.tokenize, readers),
        CONFIG,
        seed=3,
        device=torch.device("cpu"),
        state_folder=folder,
        emit=emit,  # type: ignore[arg-type]
    )
    masking.detach()
    return clip.model.state_dict()


def die(*_: Any, **__: Any) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def at_step(step: int) -> Emit:
    return lambda line: die() if line["step"] == step else None


def in_second(monkeypatch: pytest.MonkeyPatch, place: Any, name: str) -> Emit:
    """Die in the second call of a function while a state is written."""
    before, calls = getattr(place, name), []

    def call(*args: Any, **options: Any) -> Any:
        calls.append(name)
        return die() if len(calls) == 2 else before(*args, **options)

    monkeypatch.setattr(place, name, call)
    return lambda _: None


MOMENTS = {
    "in a step": (lambda _: at_step(5), [5, 6]),
    "before a state": (lambda _: at_step(4), [3, 4, 5, 6]),
    "while it is written": (lambda patch: in_second(patch, state, "save_file"), [3, 4, 5, 6]),
    "before it has its name": (lambda patch: in_second(patch, Path, "rename"), [3, 4, 5, 6]),
}


@pytest.fixture(scope="module")
def quiet(tiny: TinyWorld, tmp_path_factory: pytest.TempPathFactory) -> tuple[Curve, dict[str, torch.Tensor]]:
    curve: Curve = []
    weights = trained(
        tiny,
        tmp_path_factory.mktemp("quiet"),
        readers=1,
        emit=lambda line: curve.append((line["step"], line["loss"])),
    )
    return curve, weights


@pytest.mark.parametrize("moment", MOMENTS)
def test_a_killed_training_gives_the_curve_of_the_quiet_one(
    tiny: TinyWorld,
    tmp_path: Path,
    quiet: tuple[Curve, dict[str, torch.Tensor]],
    moment: str,
) -> None:
    killing, steps = MOMENTS[moment]
    with pytest.MonkeyPatch.context() as patch:
        options = {"readers": 2, "emit": killing(patch)}
        process = multiprocessing.get_context("fork").Process(
            target=trained, args=(tiny, tmp_path), kwargs=options
        )
        process.start()
        process.join()
    assert process.exitcode == -signal.SIGKILL
    rest: Curve = []
    weights = trained(tiny, tmp_path, readers=3, emit=lambda line: rest.append((line["step"], line["loss"])))
    curve, expected = quiet
    assert [step for step, _ in rest] == steps
    assert rest == curve[-len(rest) :]
    assert all(torch.equal(weights[name], expected[name]) for name in expected)
