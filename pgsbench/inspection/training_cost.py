"""The table of ``pgsbench bench train``: what a training step costs, by phase, beside open_clip_train's loop.

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
from typing import Any

import torch

from pgsbench.config.schema import ModelConfig, RunConfig, StrategyConfig, TrainingConfig, UnmaskedTuning
from pgsbench.data.made_up import MadeUp
from pgsbench.data.store import Progress
from pgsbench.data.transforms import normalise
from pgsbench.devices import devices_named, use
from pgsbench.inspection.step_phases import PHASES, StepPhases, count_as_mask
from pgsbench.inspection.timing import SPREAD, peak_bytes
from pgsbench.masking.configure import configure
from pgsbench.masking.text.configure import configure_text
from pgsbench.masking.text.words import WordCounts
from pgsbench.models.clip import Clip, build, contrastive_loss
from pgsbench.models.masked_tower import attach
from pgsbench.models.pair_cost import sizes_of
from pgsbench.models.step_memory import step_memory
from pgsbench.models.text_masking import TextMasking
from pgsbench.reporting.render import Format, Header, Table
from pgsbench.training.loop import train

#: The row of open_clip's own loop, which masks nothing.
OPEN_CLIP = "open_clip_train"
#: Steps at the start of each turn that are not counted: they make the optimizer's state and fill caches.
WARM_UP = 1


@dataclass(frozen=True)
class Loop:
    """A training loop that is measured.

    Attributes:
        run: Trains for some steps.
        phases: Where the seconds of its steps are collected.
        flops: Of one pair, forward and backward; None where they cannot be told.
        bytes: What a step holds beyond model and batch, by plan; None likewise.
    """

    run: Callable[[int], None]
    phases: StepPhases
    flops: int | None
    bytes: int | None = None


def bench_training(
    model: str = "scenes-vit",
    *,
    strategies: Sequence[str] = ("none", "flip", "pgs"),
    batch_size: int = 32,
    steps: int = 8,
    turns: int = 3,
    device: str = "cpu",
    threads: int = 1,
    progress: Progress = lambda *_: None,
) -> Table:
    """Measure training steps; `none` is always measured, too, as what the others are compared with.

    Args:
        model: Name of the model.
        strategies: Names of strategies, at their defaults.
        batch_size: Pairs in the batch.
        steps: Counted steps of each loop, in all.
        turns: In how many parts they are taken.
        device: As on the command line.
        threads: CPU threads, from now on.
        progress: Told what is being measured.

    Raises:
        UserError: There is no such model, strategy or device.
    """
    on = use(devices_named(device)[0])
    torch.set_num_threads(threads)
    names = list(dict.fromkeys(["none", *strategies]))
    loops = {name: _ours(model, name, batch_size, on) for name in names}
    loops[OPEN_CLIP] = _open_clips(model, batch_size, on)
    for turn in range(turns):
        for name, loop in loops.items():
            progress(f"timing {name}", turn, turns)
            _take_turn(loop, math.ceil(steps / turns))
    # These steps are watched so closely that they are slow: the table has the seconds of those before.
    timed = {name: list(loop.phases.steps) for name, loop in loops.items()}
    # The first of two makes the optimizer's state.
    peaks = {name: peak_bytes(partial(loop.run, 2), on) for name, loop in loops.items()}
    progress("timing", turns, turns)
    where = f"{threads} CPU thread{'s' if threads > 1 else ''}" if on.type == "cpu" else str(on)
    return _table(loops, timed, peaks, batch_size, f"{model}, {batch_size} pairs a step, {where}")


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

    memory = step_memory(
        RunConfig(
            model=ModelConfig(name=model),
            strategy=StrategyConfig(name=name),
            training=_settings(batch_size, steps=2),
        ),
        device_type=device.type,
    )
    planned = None if memory.peak is None else memory.peak - memory.checkpoint
    return Loop(run, phases, pair.flops, planned)


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


def _open_clips(model: str, batch_size: int, device: torch.device) -> Loop:
    from open_clip_train.train import train_one_epoch

    clip = build(model, seed=0, device=device)
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

    return Loop(run, phases, sizes_of(model).pair(None, None).flops)


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
    setting: str,
) -> Table:
    whole = {name: [sum(step.values()) for step in steps] for name, steps in timed.items()}
    unmasked, base = median(whole["none"]), loops["none"].flops
    rows: list[list[object]] = []
    for name, steps in timed.items():
        seconds, own = median(whole[name]), loops[name].flops
        parts = [1000 * median(step[phase] for step in steps) for phase in PHASES]
        rows.append(
            [
                name,
                batch_size / seconds,
                1000 * seconds,
                *parts,
                seconds / unmasked,
                own / base if own and base else "-",
                _mib(loops[name].bytes),
                _mib(peaks[name]),
            ]
        )
    speeds = ["pairs/s", "step ms", *(f"{phase} ms" for phase in PHASES)]
    header: Header = [
        "loop",
        *((name, Format("{:,.1f}")) for name in speeds),
        *((name, Format("{:.3f}")) for name in ("time x none", "FLOP x none")),
        *((name, Format("{:,.0f}")) for name in ("plan MiB", "peak MiB")),
    ]
    notes = [
        f"{setting}; medians of {len(whole['none'])} steps in turns. "
        "On a CPU it is processor time, summed over threads.",
        f"{OPEN_CLIP}: its own loop and optimizer, without a mask, on pictures that are normalised already.",
        "backward: the loss and the backward pass. FLOP x none: matrix products of both towers, by plan.",
        "peak MiB: memory beyond model and batch, in two steps. plan MiB: what `pgsbench plan` says of it.",
    ]
    uneven = [name for name, times in whole.items() if median(times) > SPREAD * min(times)]
    if uneven:
        notes.insert(
            0,
            f"Warning: the median is more than {SPREAD:g} times the fastest step for {', '.join(uneven)}: "
            "the machine was busy. Repeat before you compare.",
        )
    return Table("Cost of a training step", header, rows, notes)


def _mib(number: int | None) -> float | str:
    return "-" if number is None else number / 2**20
