"""The training loop: read it from top to bottom.

Arms of a study differ in nothing but what `Masking` and `TextMasking` do: initial weights, batches and masks
are functions of seed, step and sample. The loop knows no tracker and writes nothing but its state.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import torch

from pgsbench.config.training import TrainingConfig
from pgsbench.data.damage import Damage
from pgsbench.data.samples import Fault, Reader
from pgsbench.devices import memory_told
from pgsbench.errors import Interrupted, RunError
from pgsbench.models.clip import Clip, contrastive_loss
from pgsbench.models.masked_tower import Masking
from pgsbench.models.text_masking import TextMasking
from pgsbench.training import state
from pgsbench.training.meter import Emit, Meter, Totals
from pgsbench.training.optim import (
    adamw,
    first_unmasked_step,
    gather_moments,
    learning_rate,
    set_learning_rate,
)
from pgsbench.training.ranks import Ranks
from pgsbench.training.step import GradientStep, Towers

MAX_LOGIT_SCALE = math.log(100)  # CLIP, arXiv 2103.00020, section 2.5

_AUTOCAST = {"bf16": torch.bfloat16, "fp16": torch.float16}


class Meanwhile(Protocol):
    """What else is done after some steps, by all ranks together."""

    def is_due(self, step: int) -> bool:
        """Tell whether there is something to do after a step."""
        ...

    def visit(self, step: int, totals: Totals) -> bool:
        """Do it, unless it was done before; return whether the training ends here, with its state saved."""
        ...


def train(
    clip: Clip,
    masking: Masking,
    text_masking: TextMasking,
    reader: Reader,
    config: TrainingConfig,
    *,
    seed: int,
    device: torch.device,
    state_folder: Path,
    emit: Emit,
    should_stop: Callable[[], bool] = lambda: False,
    damage: Damage | None = None,
    meanwhile: Meanwhile | None = None,
    on_saved: Callable[[int], None] = lambda _: None,
    ranks: Ranks = Ranks(),  # noqa: B008  # frozen: one process alone
) -> Totals:
    """Train `clip` in place, from its saved state where there is one.

    Args:
        clip: The model, on `device`.
        masking: The mask, attached to the model; switched off for the unmasked last phase.
        text_masking: What shortens captions; switched off with the mask.
        reader: Source of the pairs.
        config: How to train.
        seed: Decides batches and masks.
        device: Where.
        state_folder: Where the state is kept for exact resume.
        emit: Receives the metrics every `config.log_every_steps` steps and at the end, on rank 0.
        should_stop: Asked after every step.
        damage: Told of the damaged samples that any rank has met; None: nobody counts them.
        meanwhile: What else is done after some steps, outside of the measured time; None: nothing.
        on_saved: Told, on rank 0, of the step of each state that was saved.
        ranks: This process among those that train the run; rank 0 alone writes.

    Raises:
        Interrupted: `should_stop` of any rank said so.
        DataError: Too many samples cannot be used.
        RunError: The loss or the weights are no longer finite, memory runs out, a state cannot be read or
            written, the batch cannot be shared equally, or another rank has failed or is lost.
    """
    model: Any = clip.model
    scaler = torch.amp.GradScaler(device.type, enabled=config.precision_on(device.type) == "fp16")
    unmasked_from = first_unmasked_step(config)
    with ranks.together():
        check_shared_equally(config.batch_size, ranks.world_size)
        optimizer = adamw(model, config, world_size=ranks.world_size)
        trained = state.Trained(model, masking, optimizer, scaler)
        step, totals = state.restore(state_folder, trained, device=device)
        batches = reader.batches(
            seed=seed,
            batch_size=config.batch_size,
            start_step=step,
            rank=ranks.rank,
            world_size=ranks.world_size,
        )
        batch = next(batches)
    _count(batch.faults, damage, step, ranks)
    towers: Any = Towers(clip, text_masking)
    if config.compile:
        torch.compiler.reset()  # torch keeps eight graphs of a function; a process trains many arms
        towers = torch.compile(towers)
    with ranks.watched(step):
        shared = ranks.wrapped(towers, device)
    gradient = GradientStep(
        shared,
        clip,
        masking,
        contrastive_loss(config.loss, rank=ranks.rank, world_size=ranks.world_size),
        in_precision=partial(autocast, config, device),
        scaler=scaler,
        device=device,
        micro_batch_size=config.micro_batch_size,
    )
    model.train()
    # Where the run was stopped before it was done with that step.
    if meanwhile is not None and meanwhile.is_due(step) and meanwhile.visit(step, totals):
        raise Interrupted
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    meter = Meter(totals, clip, masking, text_masking, device, ranks)
    saved_at = time.monotonic()

    while step < config.steps:
        progress = config.progress(step)
        masking.active = text_masking.active = step < unmasked_from
        text_masking.begin_step(seed=seed, step=step, samples=batch.samples, progress=progress)
        texts = text_masking.shorten(batch.texts)
        rate = learning_rate(step, config)
        set_learning_rate(optimizer, rate)

        optimizer.zero_grad(set_to_none=True)
        tell = partial(_out_of_memory, step + 1, config, ranks)
        with ranks.watched(step), memory_told(tell):
            loss = gradient(batch, texts, seed=seed, step=step, progress=progress)
            if config.grad_clip_norm is not None:
                scaler.unscale_(optimizer)
                torch.nn.utils.clip_grad_norm_(model.parameters(), config.grad_clip_norm)
            scaler.step(optimizer)
            scaler.update()
        with torch.no_grad():
            model.logit_scale.clamp_(0, MAX_LOGIT_SCALE)

        step += 1
        meter.count(len(texts), texts.shape[1], gradient.masked_share)
        error: Exception | None = None
        stop, faults = False, tuple[Fault, ...]()
        try:
            if step % config.log_every_steps == 0 or step == config.steps:
                line = meter.line(step, loss, rate)
                if not math.isfinite(line["loss"]):
                    raise _diverged("loss is", step)
                if ranks.is_first:
                    emit(line)
            stop = should_stop() and step < config.steps  # asked at the end, too: is the run still ours?
            if step < config.steps:
                with meter.waiting():
                    batch = next(batches)
                faults = batch.faults
        except Exception as raised:  # the other ranks must hear of it
            error = raised
        save = ranks.is_first and config.is_time_to_save(step, (time.monotonic() - saved_at) / 60)
        stop, save, found = ranks.agree(step, stop=stop, save=save, found=bool(faults), error=error)
        if found:
            _count(faults, damage, step, ranks)
        if meanwhile is not None and not stop and meanwhile.is_due(step):
            meter.pause()
            stop = meanwhile.visit(step, totals)
            meter.resume()
        if stop or save:
            meter.pause()
            with ranks.watched(step):
                gather_moments(optimizer)
            if ranks.is_first:
                try:
                    check_weights(model, step)  # a state that cannot go on must not replace one that can
                    state.save(state_folder, trained, step=step, totals=totals, keep=config.keep_states)
                    on_saved(step)
                except Exception as raised:
                    error = raised
            ranks.agree(step, error=error)
            saved_at = time.monotonic()
            meter.resume()
        if stop:
            raise Interrupted
    check_weights(model, step)
    return totals


def _count(faults: Sequence[Fault], damage: Damage | None, step: int, ranks: Ranks) -> None:
    # Each rank counts what all have met, in the order of the batch: all stop where one alone would.
    if damage is None:
        return
    with ranks.watched(step):
        of_all = ranks.all_of(faults)
    with ranks.together(step):
        for fault in of_all:
            damage.add(fault)


def autocast(config: TrainingConfig, device: torch.device) -> torch.autocast:
    """Return the context in which a forward pass runs."""
    dtype = _AUTOCAST.get(config.precision_on(device.type))
    return torch.autocast(device.type, dtype or torch.bfloat16, enabled=dtype is not None)


@torch.no_grad()
def check_weights(model: torch.nn.Module, step: int) -> None:
    """Raise RunError where weights are no numbers any more: the loss tells it one step later."""
    # The largest magnitude, as it needs no second copy of a weight.
    largest = [torch.linalg.vector_norm(weight, float("inf")) for weight in model.parameters()]
    if not torch.stack(largest).isfinite().all():
        raise _diverged("weights are", step)


def _diverged(what: str, step: int) -> RunError:
    way_out = "lower training.learning_rate, or lengthen the warm-up"
    return RunError(f"the {what} no longer finite", where=f"step {step}", way_out=way_out)


def check_shared_equally(batch_size: int, world_size: int) -> None:
    """Raise RunError where not every process would get the same number of pairs."""
    if batch_size % world_size:
        raise RunError(
            f"a batch must be shared equally by {world_size} processes",
            where="training.batch_size",
            value=batch_size,
            way_out=f"choose a multiple of {world_size}, or other devices_per_run",
        )


def _out_of_memory(step: int, config: TrainingConfig, ranks: Ranks, said: str) -> RunError:
    pairs = config.batch_size // ranks.world_size
    held = min(pairs, config.micro_batch_size or pairs)
    return RunError(
        f"memory ran out: {pairs} pairs on this device, {held} at a time",
        where=f"step {step}, rank {ranks.rank}",
        value=said,
        way_out=f"set training.micro_batch_size below {held}, or model.grad_checkpointing: true, which both "
        "give the same gradient; or a smaller training.batch_size, which is another training",
    )
