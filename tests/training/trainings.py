"""Trainings of a tiny model on tiny pictures in memory, alone or by several processes."""

from __future__ import annotations

import os
import socket
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
import torch.multiprocessing as processes
from torch.optim.optimizer import register_optimizer_step_post_hook

from pgsbench.config.training import TrainingConfig, UnmaskedTuning
from pgsbench.data.damage import DAMAGED, Damage
from pgsbench.data.memory import InMemory
from pgsbench.data.samples import Batch, Fault
from pgsbench.masking.configure import configure, configure_text
from pgsbench.masking.text.words import WordCounts
from pgsbench.models.clip import build
from pgsbench.models.masked_tower import attach
from pgsbench.models.text_masking import TextMasking
from pgsbench.training.loop import train
from pgsbench.training.ranks import Ranks, joined

CPU = torch.device("cpu")


def pairs(count: int = 64, size: int = 32) -> InMemory:
    """Return coloured boxes on noise, with made-up captions, the same ones always."""
    random = torch.Generator().manual_seed(0)
    images = torch.randint(80, 150, (count, 3, size, size), generator=random, dtype=torch.uint8)
    objects = torch.zeros(count, size, size, dtype=torch.uint8)
    texts = torch.zeros(count, 24, dtype=torch.int32)
    for number in range(count):
        top, left = torch.randint(0, size // 2, (2,), generator=random).tolist()
        colour = torch.randint(0, 256, (3, 1, 1), generator=random, dtype=torch.uint8)
        images[number, :, top : top + 12, left : left + 12] = colour
        objects[number, top : top + 12, left : left + 12] = 1
        words = 400 + colour.flatten().int() // 32 + 8 * torch.arange(3, dtype=torch.int32)
        length = 4 + number % 4
        texts[number, 0], texts[number, length] = 49406, 49407
        texts[number, 1:length] = words.repeat(3)[: length - 1]
    return InMemory(images, texts, objects)


CONFIG = TrainingConfig(
    samples=96, batch_size=16, log_every_steps=1, unmasked_tuning=UnmaskedTuning(share=0.2)
)


@dataclass(frozen=True)
class Training:
    """What is trained, how, and by how many processes."""

    strategy: str = "random"
    fields: tuple[tuple[str, Any], ...] = ()
    text: str = "none"
    config: TrainingConfig = CONFIG
    stop_after: int | None = None
    hangs: int | None = None
    unreadable: int | None = None
    damaged: tuple[int, ...] = ()
    max_bad_share: float = 1.0
    silence_seconds: float = 60.0

    def changed(self, **settings: Any) -> Training:
        """Return it with other settings of the training."""
        return replace(self, config=self.config.model_copy(update=settings))


@dataclass
class Result:
    losses: list[float]
    weights: dict[str, torch.Tensor]
    samples: list[int]
    masks: list[torch.Tensor]
    num_moments: int


class Watched:
    """A reader that notes which pairs it gives."""

    has_objects = True

    def __init__(self, unreadable: int | None, damaged: tuple[int, ...]) -> None:
        faults = {number: Fault(number, DAMAGED, f"pair {number}") for number in damaged}
        self.data, self.seen = replace(pairs(), faults=faults), list[int]()
        self.unreadable = unreadable

    def batches(self, **options: Any) -> Iterator[Batch]:
        for step, batch in enumerate(self.data.batches(**options)):
            if step == self.unreadable and options["rank"] == 1:
                raise OSError("rank 1 cannot read its pairs")
            self.seen += batch.ids.tolist()
            yield batch


def run(training: Training, folder: Path) -> Result:
    """Train in this process, as one of those that were launched."""
    with joined(CPU, silence_seconds=training.silence_seconds) as ranks:
        return run_as(ranks, training, folder)


def run_as(ranks: Ranks, training: Training, folder: Path) -> Result:
    """Train as one of the processes that have joined."""
    options = {"siglip": True} if training.config.loss == "sigmoid" else {}
    clip = build("tiny-vit", seed=3, **options)
    masking = attach(clip.model, configure(training.strategy, dict(training.fields)))
    text = configure_text(training.text, {} if training.text == "none" else {"keep": 5})
    counts = WordCounts.none().plus(torch.tensor([1])) if "counts" in text.needs else None
    reader, losses, masks = (
        Watched(training.unreadable, training.damaged),
        list[float](),
        list[torch.Tensor](),
    )

    def should_stop() -> bool:
        if training.hangs == ranks.rank:
            time.sleep(2 * training.silence_seconds)
        return training.stop_after is not None and len(losses) >= training.stop_after

    stepped = dict[str, Any]()
    hook = register_optimizer_step_post_hook(
        lambda own, *_: stepped.update(own=own) if isinstance(own, torch.optim.AdamW) else None
    )
    masking.register_forward_hook(
        lambda *_: masks.append(masking.last.keep.clone()) if masking.last is not None else None
    )
    train(
        clip,
        masking,
        TextMasking(clip, text, counts),
        reader,
        training.config,
        seed=3,
        device=CPU,
        state_folder=folder,
        emit=lambda line: losses.append(line["loss"]),
        should_stop=should_stop,
        damage=Damage(len(reader.data), training.max_bad_share),
        ranks=ranks,
    )
    masking.detach()
    hook.remove()
    moments = [of["exp_avg"].numel() + of["exp_avg_sq"].numel() for of in stepped["own"].state.values()]
    return Result(losses, clip.model.state_dict(), reader.seen, masks, sum(moments))


def _one_of(rank: int, trainings: list[tuple[Training, Path]], world_size: int, port: int, out: str) -> None:
    torch.set_num_threads(1)
    os.environ |= {
        "RANK": str(rank),
        "WORLD_SIZE": str(world_size),
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
    }
    found: list[Result | str] = []
    # They join once, as in a run: whoever leaves takes the store of the others with it.
    with joined(CPU, silence_seconds=trainings[0][0].silence_seconds) as ranks:
        for training, folder in trainings:
            try:
                found.append(run_as(ranks, training, folder))
            except Exception as error:
                found.append(f"{type(error).__name__}: {error}")
    torch.save(found, Path(out) / f"{rank}.pt")


def run_on(world_size: int, trainings: list[tuple[Training, Path]]) -> list[list[Any]]:
    """Train one thing after another by several processes; return for each what every rank has to show."""
    with socket.socket() as free, tempfile.TemporaryDirectory() as out:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
        free.close()
        processes.spawn(_one_of, (trainings, world_size, port, out), nprocs=world_size)
        ranks = [torch.load(Path(out) / f"{rank}.pt", weights_only=False) for rank in range(world_size)]
    return [list(of_all) for of_all in zip(*ranks, strict=True)]
