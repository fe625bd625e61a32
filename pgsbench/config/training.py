"""How a model is trained: the settings, and what follows from them at each step."""

from __future__ import annotations

import math
import re
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, model_validator

from pgsbench.config.strict import MismatchError, Strict

#: Larger numbers are slips of the pen.
MAX_BATCH, MAX_RATE = 2**20, 100.0
#: Pairs of a training, repeats counted.
MAX_SAMPLES = 10**13


def _checked_every(value: float | str) -> float | str:
    is_right = 0 < value < 1 if isinstance(value, float) else re.fullmatch(r"[1-9]\d* (step|epoch)s?", value)
    if not is_right:
        raise ValueError("a share of the training such as 0.1, `1000 steps` or `1 epoch`")
    return value


#: How often something is done in a training: after a share of it, ``"1000 steps"`` or ``"1 epoch"``.
Every = Annotated[float | str, AfterValidator(_checked_every)]


def number_at(step: int, every: float | str, training: TrainingConfig, num_pairs: int) -> int:
    """Return the how-manieth time of what is done every so often comes after a step; 0: none does.

    After the last step nothing is done: then the training is over.

    Args:
        step: Steps done.
        every: How often.
        training: How it is trained.
        num_pairs: Pairs of an epoch.
    """
    if isinstance(every, float):
        size = every * training.steps
    else:
        count, unit = every.split()
        size = int(count) * (1.0 if unit.startswith("step") else num_pairs / training.batch_size)
    size = max(1.0, size)
    number = round(step / size)
    return number if number and step == round(number * size) < training.steps else 0


class KeepConfig(Strict):
    """Checkpoints that stay after the training, as open_clip loads them: ``RUN@0.5``, ``RUN@epoch-2``."""

    every: Every | None = Field(
        None, description="How often one is kept: after a share of the training, `1000 steps` or `1 epoch`."
    )
    last: int | None = Field(None, ge=1, le=10**6, description="Of these only so many stay, the last ones.")
    best: str | None = Field(
        None, description="And the best one so far in this task or group of evaluation.during: RUN@best."
    )

    @model_validator(mode="after")
    def _keeps_something(self) -> KeepConfig:
        if self.every is None and (self.best is None or self.last is not None):
            raise MismatchError("say how often: `every: 0.1`, for example", "every", "last")
        return self


class UnmaskedTuning(Strict):
    """A last phase on whole pictures and captions (FLIP, arXiv 2212.00794, section 3), for any strategy."""

    share: float = Field(0.15, ge=0, lt=1, description="Share of all steps; 0 switches the phase off.")
    lr_scale: float = Field(
        1.0, gt=0, le=MAX_RATE, description="Factor on the learning-rate schedule in this phase."
    )


class TrainingConfig(Strict):
    """How the model is trained."""

    samples: int = Field(
        24_576, ge=1, le=MAX_SAMPLES, description="Image-text pairs seen in all; repeats count."
    )
    batch_size: int = Field(64, ge=2, le=MAX_BATCH, description="Pairs in a step.")
    learning_rate: float = Field(1e-3, gt=0, le=MAX_RATE, description="Peak of AdamW's learning rate.")
    text_lr_scale: float = Field(
        1.0,
        gt=0,
        le=MAX_RATE,
        description="Factor on the learning rate of the text tower; see model.token_std.",
    )
    weight_decay: float = Field(
        0.1, ge=0, le=MAX_RATE, description="AdamW's, on matrices only, as open_clip does."
    )
    beta1: float = Field(0.9, ge=0, lt=1)
    beta2: float = Field(0.98, ge=0, lt=1)
    eps: float = Field(1e-6, gt=0, le=1)
    warmup_share: float = Field(0.05, ge=0, lt=1, description="Share of all steps with rising rate.")
    warmup_steps: int | None = Field(
        None, ge=0, le=MAX_SAMPLES, description="Steps with rising rate, in place of warmup_share."
    )
    schedule: Literal["cosine", "wsd"] = Field(
        "cosine",
        description="After the warm-up: half a cosine, or a constant rate and a decay (1 - sqrt, arXiv "
        "2405.18392). With wsd trainings that differ only in length share their steps (docs/studies.md).",
    )
    decay_share: float = Field(0.2, gt=0, le=1, description="Share of all steps with falling rate, of wsd.")
    ramp_steps: int | None = Field(
        None,
        ge=1,
        le=MAX_SAMPLES,
        description="Of wsd: steps in which a mask changes that is to change over the training. Strategies "
        "that look at tokens or attention need it; for others null is the warm-up.",
    )
    branch_steps: list[Annotated[int, Field(ge=1, le=MAX_SAMPLES)]] | None = Field(
        None,
        description="Steps after which wsd keeps the whole state in runs/_trunks, for trainings of other "
        "lengths to begin there; null: where the decay begins. Does not change results.",
    )
    grad_clip_norm: float | None = Field(
        1.0, ge=1e-6, le=1e6, description="Largest gradient norm; null: no clipping."
    )
    precision: Literal["auto", "fp32", "bf16", "fp16"] = Field(
        "auto", description="auto: bf16 autocast on CUDA, fp32 on CPU (where autocast is slower)."
    )
    loss: Literal["softmax", "sigmoid"] = Field(
        "softmax", description="CLIP's cross-entropy, or SigLIP's sigmoid for each pair."
    )
    compile: bool = Field(False, description="Compile both towers with torch.compile.")
    micro_batch_size: int | None = Field(
        None,
        ge=1,
        le=MAX_BATCH,
        description="Pairs whose activations a device holds at a time; the gradient stays that of the whole "
        "batch, for one more forward pass. null: all at once. Changes results by rounding only (those of "
        "pgs-released, whose mask depends on the batch, by more).",
    )
    unmasked_tuning: UnmaskedTuning = Field(default_factory=lambda: UnmaskedTuning(share=0.15, lr_scale=1.0))
    log_every_steps: int = Field(10, ge=1, le=MAX_SAMPLES, description="Does not change results.")
    checkpoint_every_steps: int = Field(200, ge=1, le=MAX_SAMPLES, description="Does not change results.")
    checkpoint_every_minutes: float = Field(
        30.0, gt=0, le=10**6, description="A state is saved at least so often. Does not change results."
    )
    shard_optimizer: bool = Field(
        False,
        description="Of a run on several devices, each keeps AdamW's moments of its share of the weights "
        "alone (ZeRO, stage 1). Does not change results.",
    )
    keep: KeepConfig | None = Field(None, description="Does not change results.")
    keep_states: int = Field(1, ge=1, le=1000, description="How many saved states of a run are kept.")

    @model_validator(mode="after")
    def _at_least_one_step(self) -> TrainingConfig:
        if self.samples < self.batch_size:
            rule = f"samples ({self.samples}) must be at least batch_size ({self.batch_size})"
            raise MismatchError(rule, "samples", "batch_size")
        return self

    @model_validator(mode="after")
    def _shares_its_steps(self) -> TrainingConfig:
        if self.schedule == "cosine":
            for name in ("decay_share", "ramp_steps", "branch_steps"):
                if getattr(self, name) != type(self).model_fields[name].default:
                    raise MismatchError(f"{name} is of `schedule: wsd`", name, "schedule")
        elif self.warmup_steps is None:
            rule = "with wsd the warm-up must not depend on the length: set warmup_steps"
            raise MismatchError(rule, "schedule", "warmup_steps")
        elif self.unmasked_tuning.share > self.decay_share:
            rule = "with wsd the unmasked last phase lies in the decay: its share is at most decay_share"
            raise MismatchError(rule, "unmasked_tuning.share", "decay_share")
        return self

    @property
    def steps(self) -> int:
        """Optimiser steps in all."""
        return self.samples // self.batch_size

    @property
    def num_warmup_steps(self) -> int:
        """Steps with rising rate."""
        share = math.floor(self.steps * self.warmup_share)
        return share if self.warmup_steps is None else self.warmup_steps

    @property
    def first_decay_step(self) -> int:
        """With wsd the step at which the rate begins to fall: none before depends on the length."""
        return self.steps - math.floor(self.steps * self.decay_share)

    @property
    def longest_warmup(self) -> int:
        """Steps that a warm-up may have."""
        return self.first_decay_step if self.schedule == "wsd" else self.steps

    @property
    def kept_steps(self) -> list[int]:
        """Steps after which the whole state is kept, for trainings of other lengths to begin there."""
        if self.schedule != "wsd":
            return []
        steps = [self.first_decay_step] if self.branch_steps is None else self.branch_steps
        return [step for step in steps if step <= self.first_decay_step]

    def progress(self, step: int) -> float:
        """Return how far a mask that changes over the training has changed at a step, in [0, 1]."""
        length = self.ramp_steps or (self.steps if self.schedule == "cosine" else self.num_warmup_steps)
        return min(1.0, step / max(1, length))

    @property
    def guessing_loss(self) -> float:
        """The loss of a model that tells no pair from another, at its best."""
        b = self.batch_size
        return math.log(b) + (self.loss == "sigmoid") * (b - 1) * math.log(b / (b - 1))

    def is_time_to_save(self, step: int, minutes: float) -> bool:
        """Tell whether the state is saved after a step, so many minutes after the last time."""
        is_due = step % self.checkpoint_every_steps == 0 or minutes >= self.checkpoint_every_minutes
        return is_due or step in self.kept_steps

    def precision_on(self, device: str) -> str:
        """Return the precision on a type of device: ``fp32``, ``bf16`` or ``fp16``."""
        if self.precision != "auto":
            return self.precision
        return "bf16" if device == "cuda" else "fp32"
