"""The training loop: read it from top to bottom.

Arms of a study differ in nothing but what `Masking` and `TextMasking` do: initial weights, batches and masks
are functions of the seed and the step. The loop knows no tracker and writes nothing but its state.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from pgsbench.config.schema import TrainingConfig
from pgsbench.data.samples import Reader
from pgsbench.data.transforms import normalise
from pgsbench.errors import Interrupted, RunError
from pgsbench.models.clip import Clip, contrastive_loss
from pgsbench.models.flops import model_cost
from pgsbench.models.masked_tower import Masking
from pgsbench.models.text_masking import TextMasking
from pgsbench.training import state
from pgsbench.training.meter import Stopwatch, Totals, reset_peak_memory
from pgsbench.training.optim import adamw, first_unmasked_step, learning_rate, set_learning_rate

#: Receives one line of metrics: ``step``, ``samples``, ``seconds`` and what was measured since the last.
Emit = Callable[[Mapping[str, float]], None]

MAX_LOGIT_SCALE = math.log(100)  # CLIP, arXiv 2103.00020, section 2.5


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
        emit: Receives the metrics every `config.log_every_steps` steps and at the end.
        should_stop: Asked after every step.

    Raises:
        Interrupted: `should_stop` said so.
        RunError: The loss is no longer finite, or the saved state cannot be read.
    """
    model: Any = clip.model
    loss_of = contrastive_loss()
    optimizer = adamw(model, config)
    step, totals = state.restore(
        state_folder, model=model, masking=masking, optimizer=optimizer, device=device
    )
    cost = model_cost(model)
    in_precision = autocast(config, device)
    unmasked_from = first_unmasked_step(config)
    batches = reader.batches(seed=seed, batch_size=config.batch_size, start_step=step)

    model.train()
    reset_peak_memory(device)
    watch = Stopwatch(totals, device)
    watch.start()
    samples_logged, seconds_logged, mask_logged = totals.samples, totals.train_seconds, totals.mask_seconds
    mask_seconds_before = totals.mask_seconds - masking.select_seconds - text_masking.select_seconds
    unread: float | Tensor = 0.0  # of `masked_share_sum`: read only now and then, since that waits for a GPU

    while step < config.steps:
        batch = next(batches)
        images = normalise(batch.images.to(device, non_blocking=True), clip.mean, clip.std)
        text_masking.active = step < unmasked_from
        text_masking.begin_step(seed=seed, step=step, samples=batch.samples, progress=step / config.steps)
        texts = text_masking.shorten(batch.texts).to(device, non_blocking=True)
        rate = learning_rate(step, config)
        set_learning_rate(optimizer, rate)
        masking.active = step < unmasked_from
        masking.begin_step(
            seed=seed,
            step=step,
            samples=batch.samples,
            progress=step / config.steps,
            objects=batch.objects,
        )

        with in_precision:
            out = text_masking.forward(images, texts)
            # Each view of the pictures meets the same texts.
            losses = [
                loss_of(view, out["text_features"], out["logit_scale"])
                for view in out["image_features"].chunk(masking.num_views)
            ]
            loss = losses[0] if len(losses) == 1 else torch.stack(losses).mean()
        optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
        if config.grad_clip_norm is not None:
            torch.nn.utils.clip_grad_norm_(model.parameters(), config.grad_clip_norm)
        optimizer.step()
        with torch.no_grad():
            model.logit_scale.clamp_(0, MAX_LOGIT_SCALE)

        step += 1
        totals.samples += len(images)
        count = masking.token_count
        totals.visual_tokens += len(images) * count.mean
        totals.text_tokens += texts.numel()
        if cost:
            totals.flops += len(images) * cost.training_flops(count, texts.shape[1])
        if masking.active:
            totals.masked_samples += len(images)
            unread = unread + len(images) * masking.effective_ratio()

        if step % config.log_every_steps == 0 or step == config.steps:
            watch.lap()
            totals.mask_seconds = mask_seconds_before + masking.select_seconds + text_masking.select_seconds
            totals.masked_share_sum, unread = totals.masked_share_sum + float(unread), 0.0
            value = loss.item()
            if not math.isfinite(value):
                raise RunError(
                    "the loss is no longer finite",
                    where=f"step {step}",
                    value=value,
                    way_out="lower training.learning_rate, or lengthen training.warmup_share",
                )
            seconds = totals.train_seconds - seconds_logged
            emit(
                {
                    "step": step,
                    "samples": totals.samples,
                    "seconds": totals.train_seconds,
                    "loss": value,
                    "lr": rate,
                    "logit_scale": model.logit_scale.exp().item(),
                    "samples_per_second": (totals.samples - samples_logged) / seconds,
                    "mask_share": (totals.mask_seconds - mask_logged) / seconds,
                    "mask_ratio_effective": float(masking.effective_ratio()),
                    "tokens_kept": masking.token_count.mean,
                    **masking.diagnostics(),
                }
            )
            samples_logged, seconds_logged, mask_logged = (
                totals.samples,
                totals.train_seconds,
                totals.mask_seconds,
            )
        stop = step < config.steps and should_stop()
        if stop or step % config.checkpoint_every_steps == 0:
            watch.lap()
            totals.mask_seconds = mask_seconds_before + masking.select_seconds + text_masking.select_seconds
            totals.masked_share_sum, unread = totals.masked_share_sum + float(unread), 0.0
            state.save(
                state_folder, model=model, masking=masking, optimizer=optimizer, step=step, totals=totals
            )
            watch.start()
        if stop:
            raise Interrupted
    return totals


def autocast(config: TrainingConfig, device: torch.device) -> torch.autocast:
    """Return the context in which a forward pass runs."""
    wants_bf16 = config.precision_on(device.type) == "bf16"
    return torch.autocast(device.type, torch.bfloat16, enabled=wants_bf16)
