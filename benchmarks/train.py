"""What a training step costs, by phase, beside open_clip_train's loop: ``python -m benchmarks.train``.

Every row is a whole training loop on the same model and batch. Rows take turns, a few steps each, so that a
busy moment of the machine strikes them alike.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from types import SimpleNamespace
from typing import Annotated, Any

import pandas as pd
import torch
import typer

import pgsbench
from benchmarks.script import show, start
from benchmarks.step_phases import PHASES, StepPhases, count_as_mask
from benchmarks.timing import peak_bytes
from pgsbench.config.schema import StrategyConfig
from pgsbench.config.training import TrainingConfig, UnmaskedTuning
from pgsbench.data.samples import MadeUp
from pgsbench.data.transforms import normalise
from pgsbench.devices import devices_named, use
from pgsbench.masking.configure import configure, configure_text
from pgsbench.masking.text.words import WordCounts
from pgsbench.models.clip import Clip, build, contrastive_loss
from pgsbench.models.masked_tower import attach
from pgsbench.models.openclip import open_clip
from pgsbench.models.pair_cost import sizes_of
from pgsbench.models.text_masking import TextMasking
from pgsbench.training.loop import train

#: The row of open_clip's own loop, which masks nothing, and of that loop with half of the patches dropped: by
#: its own patch dropout, and by a mask of ours.
OPEN_CLIP = "open_clip_train"
DROPOUT, MASKED = f"{OPEN_CLIP}, its patch dropout", f"{OPEN_CLIP}, our random"
#: Steps at the start of each turn that are not counted: they make the optimizer's state and fill caches.
WARM_UP = 1


@dataclass(frozen=True)
class Loop:
    """A training loop that is measured.

    Attributes:
        run: Trains for some steps.
        phases: Where the seconds of its steps are collected.
        flops: Of one pair, forward and backward; None where they cannot be told.
    """

    run: Callable[[int], None]
    phases: StepPhases
    flops: int | None


def training_costs(
    model: str, strategies: Sequence[str], *, batch_size: int, steps: int, turns: int, device: torch.device
) -> pd.DataFrame:
    """Measure training steps; `none` is always measured, too, as what the others are compared with.

    Args:
        model: Name of the model.
        strategies: Names of strategies, at their defaults.
        batch_size: Pairs in the batch.
        steps: Counted steps of each loop, in all.
        turns: In how many parts they are taken.
        device: Where.

    Returns:
        One row for each loop; medians over steps.

    Raises:
        UserError: There is no such model or strategy.
    """
    loops = {name: _ours(model, name, batch_size, device) for name in dict.fromkeys(["none", *strategies])}
    loops |= {name: _open_clips(model, name, batch_size, device) for name in (OPEN_CLIP, DROPOUT, MASKED)}
    for _ in range(turns):
        for loop in loops.values():
            _take_turn(loop, math.ceil(steps / turns))
    # These steps are watched so closely that they are slow: the table has the seconds of those before.
    timed = {name: list(loop.phases.steps) for name, loop in loops.items()}
    # The first of two makes the optimizer's state.
    peaks = {name: peak_bytes(partial(loop.run, 2), device) for name, loop in loops.items()}
    return _table(loops, timed, peaks, batch_size)


def _take_turn(loop: Loop, steps: int) -> None:
    before = len(loop.phases.steps)
    loop.run(WARM_UP + steps)
    del loop.phases.steps[before : before + WARM_UP]


def _ours(model: str, name: str, batch_size: int, device: torch.device) -> Loop:
    clip = build(model, seed=0, device=device)
    strategy = configure(name, {}, where="--strategies")
    phases = StepPhases(device)
    pair = sizes_of(model).pair(StrategyConfig(name=name), None)
    count_as_mask(strategy, phases)
    masking = attach(clip.model, strategy)
    reader = _Watched(MadeUp(clip.tokenize, clip.image_size), phases)

    def run(steps: int) -> None:
        with TemporaryDirectory() as folder, phases.watching(clip.model):
            train(
                clip,
                masking,
                TextMasking(clip, configure_text("none", {}), WordCounts.none()),
                reader,
                _settings(batch_size, steps),
                seed=0,
                device=device,
                state_folder=Path(folder),
                emit=lambda _: None,
            )

    return Loop(run, phases, pair.flops)


def _settings(batch_size: int, steps: int) -> TrainingConfig:
    return TrainingConfig(
        samples=steps * batch_size,
        batch_size=batch_size,
        log_every_steps=steps,
        checkpoint_every_steps=steps + 1,
        unmasked_tuning=UnmaskedTuning(share=0.0),
    )


@dataclass(frozen=True)
class _Watched:
    reader: MadeUp
    phases: StepPhases
    has_objects: bool = True

    def batches(self, **settings: Any) -> Any:
        return self.phases.batches(self.reader.batches(**settings))


def _open_clips(model: str, name: str, batch_size: int, device: torch.device) -> Loop:
    from open_clip_train.train import train_one_epoch

    clip = build(model, seed=0, device=device)
    if name == DROPOUT:
        tower: Any = clip.model.visual
        tower.patch_dropout = open_clip.transformer.PatchDropout(0.5)
    if name == MASKED:
        pgsbench.attach(clip.model, "random", mask_ratio=0.5)
    phases = StepPhases(device)
    batch = next(MadeUp(clip.tokenize, clip.image_size).batches(seed=0, batch_size=batch_size))
    images = normalise(batch.images, clip.mean, clip.std)  # its readers hand over normalised pictures
    settings = SimpleNamespace(
        device=str(device),
        precision="amp_bf16" if device.type == "cuda" else "fp32",
        distill=False,
        accum_freq=1,
        skip_scheduler=True,
        grad_clip_norm=None,
        horovod=False,
        batch_size=batch_size,
        world_size=1,
        rank=0,
        local_rank=0,
        log_local=False,
        log_every_n_steps=2**31,
        wandb=False,
    )

    def run(steps: int) -> None:
        loader: Any = _Loader(phases.batches([(images, batch.texts)] * steps), steps, steps * batch_size)
        data = {"train": SimpleNamespace(dataloader=loader, set_epoch=lambda _: None)}
        optimizer = _as_its_main_makes_it(clip)
        with phases.watching(clip.model):
            train_one_epoch(clip.model, data, contrastive_loss(), 0, optimizer, None, None, None, settings)

    mask = None if name == OPEN_CLIP else StrategyConfig.model_validate({"name": "random", "mask_ratio": 0.5})
    return Loop(run, phases, sizes_of(model).pair(mask, None).flops)


@dataclass(frozen=True)
class _Loader:
    batches: Any
    num_batches: int
    num_samples: int

    def __iter__(self) -> Any:
        return self.batches


def _as_its_main_makes_it(clip: Clip) -> torch.optim.Optimizer:
    defaults = TrainingConfig()
    plain: list[torch.nn.Parameter] = []
    matrices: list[torch.nn.Parameter] = []
    for name, parameter in clip.model.named_parameters():
        is_plain = parameter.ndim < 2 or any(part in name for part in ("bn", "ln", "bias", "logit_scale"))
        (plain if is_plain else matrices).append(parameter)
    return torch.optim.AdamW(
        [
            {"params": plain, "weight_decay": 0.0},
            {"params": matrices, "weight_decay": defaults.weight_decay},
        ],
        lr=defaults.learning_rate,
        betas=(defaults.beta1, defaults.beta2),
        eps=defaults.eps,
    )


def _table(
    loops: Mapping[str, Loop],
    timed: Mapping[str, Sequence[Mapping[str, float]]],
    peaks: Mapping[str, int],
    batch_size: int,
) -> pd.DataFrame:
    seconds = {name: median(sum(step.values()) for step in steps) for name, steps in timed.items()}
    base = loops["none"].flops
    rows = []
    for name, steps in timed.items():
        flops = loops[name].flops
        rows.append(
            {
                "loop": name,
                "pairs/s": round(batch_size / seconds[name], 1),
                "step ms": round(1000 * seconds[name], 1),
                **{f"{phase} ms": round(1000 * median(step[phase] for step in steps), 1) for phase in PHASES},
                "time x none": round(seconds[name] / seconds["none"], 3),
                "FLOP x none": round(flops / base, 3) if flops and base else None,
                "peak MiB": round(peaks[name] / 2**20),
            }
        )
    return pd.DataFrame(rows)


def main(
    model: Annotated[str, typer.Option(help="Which model is trained.")] = "scenes-vit",
    strategies: Annotated[str, typer.Option(help="Joined by commas.")] = "none,flip,pgs",
    batch_size: Annotated[int, typer.Option(help="Pairs a step.", min=1)] = 32,
    steps: Annotated[int, typer.Option(help="Counted steps of each.", min=1)] = 12,
    device: str = "cpu",
    threads: Annotated[int, typer.Option(help="Of the CPU.", min=1)] = 1,
) -> None:
    """Time a training step by phase for each strategy, beside open_clip_train's own loop."""
    on = use(devices_named(device)[0])
    torch.set_num_threads(threads)
    names = strategies.split(",")
    table = training_costs(model, names, batch_size=batch_size, steps=steps, turns=8, device=on)
    show(
        f"Cost of a training step: {model}, {batch_size} pairs, {on}, {threads} CPU threads",
        table,
        "Medians of steps in turns; on a CPU of processor time, summed over threads.",
        f"{OPEN_CLIP}: its own loop and optimizer, on pictures that are normalised already; without a mask, "
        "with half of the patches dropped as --force-patch-dropout 0.5 does, and as our random does.",
        "backward: the loss and the backward pass. FLOP x none: matrix products of both towers, by plan.",
        "peak MiB: memory beyond model and batch, in two steps.",
    )


if __name__ == "__main__":
    start(main)
