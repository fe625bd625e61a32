"""What a study file may say: pydantic models whose field descriptions are the reference.

A study is a base configuration, variations of it, and seeds::

    base  = data + model + strategy + text + training + evaluation       (top-level keys)
    arm   = base + the arm's overrides                            (`arms`)
    point = arm + one value for each searched path                (`search`)
    run   = arm or point + one seed                               (`seeds`)
"""

from __future__ import annotations

import math
import re
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationInfo,
    field_validator,
    model_validator,
)

from pgsbench.config import sources
from pgsbench.config.augmentation import AugmentConfig
from pgsbench.config.search import SearchConfig
from pgsbench.config.strict import MismatchError, Strict

#: Pattern of the names of studies and arms. They name folders; a space would end them in a label.
NAME = "[A-Za-z0-9][A-Za-z0-9._-]*"
#: Length of such a name; a folder's name has the seed and the id, too, and at most 255 bytes.
MAX_NAME = 100
#: Larger numbers are slips of the pen.
MAX_BATCH, MAX_RATE, MAX_SEED, MAX_SEEDS = 2**20, 100.0, 2**32 - 1, 1000
#: Pairs of a training, repeats counted.
MAX_SAMPLES = 10**13

#: Sections that a name alone can stand for, and the key that it is short for.
SHORT_FORMS = {"strategy": "name", "model": "name", "text": "strategy"}


def _short(section: str) -> BeforeValidator:
    """Let a name alone stand for a section."""
    return BeforeValidator(lambda value: {SHORT_FORMS[section]: value} if isinstance(value, str) else value)


def _augment_named(value: Any) -> Any:
    return {"open_clip": {}, "none": None}.get(value, value) if isinstance(value, str) else value


class DataConfig(Strict):
    """Training data."""

    train: str = Field(
        "scenes",
        description="A built-in data set (scenes, tiny-imagenet), a folder of webdataset shards, or a "
        "pattern such as PATH/{00000..00010}.tar; several are joined by `::`.",
    )
    recipe: dict[str, Annotated[float, Field(strict=True)]] = Field(
        default_factory=dict,
        description="Knobs of a built-in data set (of scenes: clutter, object_size, context, occlusion, "
        "colour, num_train), which is then made with them; docs/scenes.md tells what they do.",
    )
    memory_limit_gib: float = Field(
        4.0,
        ge=1e-9,  # a byte
        le=2**20,
        description="Decoded pictures up to this size are held in memory, more are streamed.",
    )
    workers: int | None = Field(
        None,
        ge=0,
        le=256,
        description="Reader processes of each device, where the data is streamed; null: as many as there are "
        "cores beside the training's own; 0: the training's own process reads. Does not change results.",
    )
    weights: list[Annotated[float, Field(ge=1e-6, le=1000)]] | None = Field(
        None,
        min_length=1,
        description="How many times an epoch goes through each of the sources that `::` joins; null: once, "
        "and they are shuffled as one.",
    )
    augment: Annotated[AugmentConfig | None, BeforeValidator(_augment_named)] | Literal["auto"] = Field(
        "auto",
        description="What is drawn anew whenever a picture is seen: open_clip, its default; none; or the "
        "numbers. auto: open_clip for shards, none for built-in data sets.",
    )
    scaled_decoding: bool = Field(
        False, description="Let the JPEG decoder scale large pictures down: faster, slightly other pixels."
    )
    max_bad_share: float = Field(
        0.01,
        ge=0,
        le=1,
        description="A training stops where a larger share of all samples cannot be used. Does not change "
        "results.",
    )

    @field_validator("weights")
    @classmethod
    def _one_for_each_source(cls, weights: list[float] | None, info: ValidationInfo) -> list[float] | None:
        train = info.data.get("train")  # absent where it is wrong itself
        if weights and train and len(weights) != (count := len(train.split("::"))):
            rule = f"each part of data.train between `::` has a weight: {count}, not {len(weights)}"
            raise MismatchError(rule, "train", "weights")
        return weights

    @property
    def source(self) -> str:
        """What is read: `train`, with its knobs as ``scenes?clutter=0.5``."""
        return sources.join(self.train, self.recipe)


class ModelConfig(Strict):
    """The CLIP model."""

    name: str = Field(
        "scenes-vit",
        description="A built-in configuration, a name that open_clip knows (ViT-B-16), or the path of an "
        "open_clip JSON configuration.",
    )
    grad_checkpointing: bool = Field(False, description="Trade time for memory in both towers.")
    token_std: float | None = Field(
        None,
        ge=1e-6,
        le=100,
        description="Standard deviation of the initial word embeddings; the marks of start and end of text "
        "begin at zero. null: open_clip's own initial weights. It helps short trainings on few words, whose "
        "text tower else forgets all but the easiest attribute.",
    )
    pretrained: str | None = Field(
        None,
        description="Weights to begin with: a tag that open_clip knows for this model, a file, or a run "
        "directory. null: untrained.",
    )
    locked: Literal["image", "text"] | None = Field(None, description="A tower that is not trained.")
    image_size: int | None = Field(
        None,
        ge=1,
        le=4096,
        description="Side of the pictures in pixels; positions of `pretrained` are interpolated. null: the "
        "architecture's own.",
    )


class Chosen(BaseModel):
    """A name, and the fields of what it names as further keys."""

    model_config = ConfigDict(extra="allow", frozen=True)

    @property
    def fields(self) -> dict[str, Any]:
        """The fields as given."""
        return dict(self.model_extra or {})


class StrategyConfig(Chosen):
    """The masking strategy; the other keys are its fields (`pgsbench masks show NAME` lists them)."""

    name: str = Field("pgs", description="A strategy's name, or path/to/file.py:Class relative to the study.")


class TextConfig(Chosen):
    """Which tokens of a caption are read; the other keys are the strategy's fields, as `keep: 8`."""

    strategy: str = Field(
        "none",
        description="A text strategy's name, or path/to/file.py:Class relative to the study; none: whole "
        "captions.",
    )


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
    keep_states: int = Field(1, ge=1, le=1000, description="How many saved states of a run are kept.")

    @model_validator(mode="after")
    def _at_least_one_step(self) -> TrainingConfig:
        if self.samples < self.batch_size:
            rule = f"samples ({self.samples}) must be at least batch_size ({self.batch_size})"
            raise MismatchError(rule, "samples", "batch_size")
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
    def guessing_loss(self) -> float:
        """The loss of a model that tells no pair from another, at its best."""
        b = self.batch_size
        return math.log(b) + (self.loss == "sigmoid") * (b - 1) * math.log(b / (b - 1))

    def is_time_to_save(self, step: int, minutes: float) -> bool:
        """Tell whether the state is saved after a step, so many minutes after the last time."""
        return step % self.checkpoint_every_steps == 0 or minutes >= self.checkpoint_every_minutes

    def precision_on(self, device: str) -> str:
        """Return the precision on a type of device: ``fp32``, ``bf16`` or ``fp16``."""
        if self.precision != "auto":
            return self.precision
        return "bf16" if device == "cuda" else "fp32"


class BudgetConfig(Strict):
    """What every arm may spend on its training; the number of pairs follows, in whole steps."""

    equal: Literal["samples", "tokens", "flops", "seconds"] = Field(
        description="samples: pairs; tokens: of both towers, mean over the blocks; flops: matrix products of "
        "both towers, forward and backward. All follow from the strategies and the model's grid, before "
        "anything runs. seconds: of training steps, from a few that are timed once; the study keeps what was "
        "measured."
    )
    amount: float = Field(gt=0, le=1e30, description="How much of it each arm may spend.")


class EvaluationConfig(Strict):
    """What the trained model is tested on."""

    suite: str = Field("scenes", description="A built-in suite or the path of a suite's YAML file.")
    batch_size: int = Field(256, ge=1, le=MAX_BATCH, description="Pictures or texts encoded at a time.")


class TrainedConfig(Strict):
    """What decides the weights of a training beside its seed."""

    data: DataConfig = Field(default_factory=lambda: DataConfig())
    model: Annotated[ModelConfig, _short("model")] = Field(default_factory=lambda: ModelConfig())
    strategy: Annotated[StrategyConfig, _short("strategy")] = Field(
        default_factory=lambda: StrategyConfig(),
        description="The base's strategy, usually the candidate.",
    )
    text: Annotated[TextConfig, _short("text")] = Field(
        default_factory=lambda: TextConfig(), description="Which tokens of a caption are read."
    )
    training: TrainingConfig = Field(default_factory=lambda: TrainingConfig())
    budget: BudgetConfig | None = Field(
        None,
        description="What every arm may spend, in place of training.samples; schedules stretch with it.",
    )


class RunConfig(TrainedConfig):
    """The settings that decide the weights of one training, given the same code and data."""

    seed: int = Field(0, ge=0, le=MAX_SEED)


class StudyConfig(TrainedConfig):
    """A study file."""

    name: str = Field(
        "", pattern=f"^({NAME})?$", max_length=MAX_NAME, description="Default: the file's name."
    )
    question: str = Field("", description="What the study asks, in one sentence; heads the report.")
    evaluation: EvaluationConfig = Field(default_factory=lambda: EvaluationConfig())
    devices_per_run: int = Field(
        1,
        ge=1,
        le=1024,
        description="Devices (on a CPU: processes) that train one run together. Changes results by rounding "
        "only.",
    )
    seeds: list[Annotated[int, Field(ge=0, le=MAX_SEED)]] = Field(
        default_factory=lambda: [0], min_length=1, max_length=MAX_SEEDS
    )
    arms: dict[Annotated[str, Field(pattern=f"^{NAME}$", max_length=MAX_NAME)], dict[str, Any]] = Field(
        default_factory=dict,
        description="Name -> what differs from the base. The base is an arm too, named after its strategy. "
        "An arm with another strategy takes over only `mask_ratio` from the base's strategy, where it "
        "means the same (to `cluster`, `pgs-released` and a `max_ratio` it is the least share, so they keep "
        "their own), and one with another text strategy only `keep`.",
    )
    search: SearchConfig | None = None
    explained: dict[str, str] = Field(
        default_factory=dict,
        description="Setting -> why it is not the published one; `plan STUDY --diff paper` shows it.",
    )

    @field_validator("seeds")
    @classmethod
    def _differ(cls, seeds: list[int]) -> list[int]:
        if len(set(seeds)) < len(seeds):
            raise ValueError("seeds must differ")
        return seeds

    @model_validator(mode="after")
    def _seconds_of_one_device(self) -> StudyConfig:
        if self.budget and self.budget.equal == "seconds" and self.devices_per_run > 1:
            rule = "a budget of seconds is timed on one device, so devices_per_run must be 1"
            raise MismatchError(rule, "budget", "devices_per_run")
        return self

    @property
    def base_arm(self) -> str:
        """Name of the arm that is the base itself."""
        return arm_name(self.strategy.name)

    @property
    def arm_names(self) -> list[str]:
        """All arms, the base first."""
        return [self.base_arm, *(name for name in self.arms if name != self.base_arm)]

    @property
    def searched_arms(self) -> list[str]:
        """The arms whose parameters are searched."""
        return (self.search.arms if self.search else []) or [self.base_arm]

    def base(self) -> dict[str, Any]:
        """Return the base as a plain dict without a seed, ready to be overridden."""
        return self.model_dump(include=set(TrainedConfig.model_fields))


def arm_name(strategy: str) -> str:
    """Return the arm's name for a strategy's name: of ``my/spiral.py:Spiral`` it is ``Spiral``.

    What is an arm's name already stays as it is.
    """
    name = re.sub(r"[^A-Za-z0-9._-]+", "-", strategy.rpartition(":")[2]).lstrip("._-")
    return name[:MAX_NAME] or "strategy"
