"""A training that is killed goes on to the curve of a quiet one, also with other readers and processes."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from tinyworld import TinyWorld

from pgsbench.config.data import AugmentConfig, DataConfig
from pgsbench.config.training import TrainingConfig
from pgsbench.data import shards, streaming
from pgsbench.data.samples import Batch, Tokenize, rank_slice
from pgsbench.data.streaming import Streamed
from pgsbench.masking.configure import configure
from pgsbench.masking.text.strategies import WholeText
from pgsbench.models.clip import build
from pgsbench.models.masked_tower import attach
from pgsbench.models.text_masking import TextMasking
from pgsbench.training import state
from pgsbench.training.loop import train
from pgsbench.training.ranks import Ranks, joined

CPU, FORK = torch.device("cpu"), multiprocessing.get_context("fork")
# A process group starts threads: what joins one is forked from a process without any, unlike this one.
CLEAN = multiprocessing.get_context("forkserver")
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


def trained(
    tiny: TinyWorld,
    folder: Path,
    *,
    readers: int,
    emit: Emit,
    ranks: Ranks = Ranks(),  # noqa: B008  # frozen: one process alone
) -> dict[str, torch.Tensor]:
    clip = build("tiny-vit", seed=3)
    masking = attach(clip.model, configure("attentive", {}))
    train(
        clip,
        masking,
        TextMasking(clip, WholeText()),
        Readers(tiny, clip.tokenize, readers),
        CONFIG,
        seed=3,
        device=CPU,
        state_folder=folder,
        emit=emit,  # type: ignore[arg-type]
        ranks=ranks,
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
        process = FORK.Process(target=trained, args=(tiny, tmp_path), kwargs=options)
        process.start()
        process.join()
    assert process.exitcode == -signal.SIGKILL
    rest: Curve = []
    weights = trained(tiny, tmp_path, readers=3, emit=lambda line: rest.append((line["step"], line["loss"])))
    curve, expected = quiet
    assert [step for step, _ in rest] == steps
    assert rest == curve[-len(rest) :]
    assert all(torch.equal(weights[name], expected[name]) for name in expected)


def be_rank(
    rank: int, world_size: int, port: int, tiny: TinyWorld, folder: Path, readers: int, moment: str
) -> None:
    """Train as one of several; leave the curve and the weights, or die at a moment."""
    os.environ |= {"RANK": str(rank), "WORLD_SIZE": str(world_size)}
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    curve: Curve = []
    with pytest.MonkeyPatch.context() as patch, joined(CPU) as ranks:
        emit = (
            MOMENTS[moment][0](patch) if moment else lambda line: curve.append((line["step"], line["loss"]))
        )
        weights = trained(tiny, folder / "state", readers=readers, emit=emit, ranks=ranks)
    if rank == 0:
        (folder / "curve.json").write_text(json.dumps(curve))
        torch.save(weights, folder / "weights.pt")


def run_by(
    world_size: int, tiny: TinyWorld, folder: Path, *, readers: int, moment: str = ""
) -> list[int | None]:
    """Train by so many processes; return how they ended. Where one is to die, all are killed with it."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    # Only rank 0 emits and writes, so the moment is its own.
    ranks = [
        CLEAN.Process(
            target=be_rank, args=(rank, world_size, port, tiny, folder, readers, moment if rank == 0 else "")
        )
        for rank in range(world_size)
    ]
    for rank in ranks:
        rank.start()
    ranks[0].join()
    for rank in ranks[1:]:
        if moment:
            rank.kill()
        rank.join()
    return [rank.exitcode for rank in ranks]


def be_backward(rank: int, port: int, folder: Path) -> None:
    """Leave the mean gradient of four ranks, twice: DistributedDataParallel moves it in between."""
    os.environ |= {"RANK": str(rank), "WORLD_SIZE": "4"}
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    torch.manual_seed(0)
    model = torch.nn.Sequential(*(torch.nn.Linear(width, 2 * width) for width in (8, 16, 32, 64)))
    values = torch.randn(4, 4, 8)[rank]
    with joined(CPU) as ranks:
        shared = ranks.wrapped(model, CPU)
        for number in range(2):
            model.zero_grad()
            shared(values).square().sum().backward()
            gradients = [weight.grad.clone() for weight in model.parameters() if weight.grad is not None]
            torch.save(gradients, folder / f"{rank}-{number}.pt")


def test_a_gradient_is_the_same_sum_before_and_after_buckets_move(tmp_path: Path) -> None:
    # Four ranks, as the sum of two numbers has one order only.
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    ranks = [CLEAN.Process(target=be_backward, args=(rank, port, tmp_path)) for rank in range(4)]
    for rank in ranks:
        rank.start()
    for rank in ranks:
        rank.join()
    first = torch.load(tmp_path / "0-0.pt")
    assert len(first) == 8
    for path in tmp_path.iterdir():
        assert all(map(torch.equal, first, torch.load(path))), path.name


@pytest.mark.slow
def test_it_is_the_quiet_curve_to_the_bit_by_as_many_processes(tiny: TinyWorld, tmp_path: Path) -> None:
    still, cut = tmp_path / "still", tmp_path / "cut"
    still.mkdir()
    cut.mkdir()
    assert run_by(4, tiny, still, readers=1) == [0] * 4
    assert run_by(4, tiny, cut, readers=1, moment="in a step")[0] == -signal.SIGKILL
    assert run_by(4, tiny, cut, readers=1) == [0] * 4
    curve, rest = (json.loads((folder / "curve.json").read_text()) for folder in (still, cut))
    assert [step for step, _ in rest] == MOMENTS["in a step"][1]
    assert rest == curve[-len(rest) :]
    expected, weights = (torch.load(folder / "weights.pt") for folder in (still, cut))
    assert all(torch.equal(weights[name], value) for name, value in expected.items())
