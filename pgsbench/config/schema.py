"""What a study file may say: pydantic models whose field descriptions are the reference.

A study is a base configuration, variations of it, and seeds::

    base  = data + model + strategy + text + training + evaluation       (top-level keys)
    arm   = base + the arm's overrides                            (`arms`)
    point = arm + one value for each searched path                (`search`)
    run   = arm or point + one seed                               (`seeds`)
"""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    field_validator,
    model_validator,
)

from pgsbench.config.data import DataConfig
from pgsbench.config.search import MAX_SEED, SearchConfig, TuneConfig
from pgsbench.config.strict import MismatchError, Strict
from pgsbench.config.training import MAX_BATCH, Every, TrainingConfig

#: Pattern of the names of studies and arms. They name folders; a space would end them in a label.
NAME = "[A-Za-z0-9][A-Za-z0-9._-]*"
#: Length of such a name; a folder's name has the seed and the id, too, and at most 255 bytes.
MAX_NAME = 100
#: Larger numbers are slips of the pen.
MAX_SEEDS = 1000

#: Sections that a name alone can stand for, and the key that it is short for.
SHORT_FORMS = {"strategy": "name", "model": "name", "text": "strategy"}


def _short(section: str) -> BeforeValidator:
    """Let a name alone stand for a section."""
    return BeforeValidator(lambda value: {SHORT_FORMS[section]: value} if isinstance(value, str) else value)


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
        description="Weights to begin with: a tag that open_clip knows for this model, a file, a run "
        "directory, or a checkpoint that a run has kept, as runs/STUDY/RUN@0.5. null: untrained.",
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


class BudgetConfig(Strict):
    """What every arm may spend on its training; the number of pairs follows, in whole steps."""

    equal: Literal["samples", "tokens", "flops", "seconds"] = Field(
        description="samples: pairs; tokens: of both towers, mean over the blocks; flops: matrix products of "
        "both towers, forward and backward. All follow from the strategies and the model's grid, before "
        "anything runs. seconds: of training steps, from a few that are timed once; the study keeps what was "
        "measured."
    )
    amount: float = Field(gt=0, le=1e30, description="How much of it each arm may spend.")


class DuringConfig(Strict):
    """A part of the suite that a model is tested on while it is trained."""

    tasks: list[str] = Field(min_length=1, description="Groups or tasks of the suite; few are quick.")
    every: Every = Field(
        0.25, description="How often: after a share of the training, `1000 steps` or `1 epoch`."
    )


class EvaluationConfig(Strict):
    """What the trained model is tested on."""

    suite: str = Field("scenes", description="A built-in suite or the path of a suite's YAML file.")
    batch_size: int = Field(256, ge=1, le=MAX_BATCH, description="Pictures or texts encoded at a time.")
    half: Literal["dev", "test"] | None = Field(
        None,
        description="Only one half of the test items of each task, drawn by hash; null: all. A study that is "
        "tuned on `dev` compares on `test` unless it says otherwise.",
    )
    during: DuringConfig | None = Field(
        None, description="Scores while it is trained; they change no weight and are no training time."
    )

    @property
    def at_end(self) -> tuple[str, int, str | None]:
        """What decides the scores of the trained model."""
        return self.suite, self.batch_size, self.half


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
        default_factory=lambda: [0],
        min_length=1,
        max_length=MAX_SEEDS,
        description="Each arm is trained once with each. It decides first weights, order, crops and masks.",
    )
    arms: dict[Annotated[str, Field(pattern=f"^{NAME}$", max_length=MAX_NAME)], dict[str, Any]] = Field(
        default_factory=dict,
        description="Name -> what differs from the base. The base is an arm too, named after its strategy. "
        "An arm with another strategy takes over only `mask_ratio` from the base's strategy, where it "
        "means the same (to `cluster`, `pgs-released` and a `max_ratio` it is the least share, so they keep "
        "their own), and one with another text strategy only `keep`.",
    )
    margin: float | str = Field(
        1.0,
        description="Differences below it do not matter: points, or a share of the baseline's mean, as 10%. "
        "A command may say another.",
    )
    search: SearchConfig | None = None
    tune: TuneConfig | None = Field(
        None, description="What is chosen for each arm by itself before arms are compared."
    )
    tuned: dict[str, dict[str, Any]] = Field(
        default_factory=dict,
        description="Arm -> path -> value that a tuning has chosen; `pgsbench train` finds it.",
    )
    explained: dict[str, str] = Field(
        default_factory=dict,
        description="Setting -> why it is not the published one; `plan STUDY --published` shows it.",
    )

    @model_validator(mode="before")
    @classmethod
    def _compared_on_the_other_half(cls, given: Any) -> Any:
        if not isinstance(given, dict) or not isinstance(given.get("tune"), dict):
            return given
        evaluation = given.get("evaluation", {})
        if given["tune"].get("on", "dev") != "dev" or not isinstance(evaluation, dict):
            return given
        return {**given, "evaluation": {"half": "test", **evaluation}}

    @field_validator("margin")
    @classmethod
    def _size(cls, margin: float | str) -> float | str:
        if not re.fullmatch(r"\d+(\.\d+)?%?", str(margin)) or not 0 < float(str(margin).rstrip("%")) < 100:
            raise ValueError("points above 0 and below 100, or percent of the baseline's mean, as 10%")
        return margin

    @field_validator("seeds")
    @classmethod
    def _differ(cls, seeds: list[int]) -> list[int]:
        if len(set(seeds)) < len(seeds):
            raise ValueError("seeds must differ")
        return seeds

    @model_validator(mode="after")
    def _scores_to_look_at(self) -> StudyConfig:
        if self.search is not None and self.search.pruner and self.evaluation.during is None:
            rule = "a pruner needs scores to look at: `evaluation: {during: {tasks: [classification]}}`"
            raise MismatchError(rule, "search", "evaluation")
        return self

    @model_validator(mode="after")
    def _seconds_of_one_device(self) -> StudyConfig:
        if self.budget and self.budget.equal == "seconds" and self.devices_per_run > 1:
            rule = "a budget of seconds is timed on one device, so devices_per_run must be 1"
            raise MismatchError(rule, "budget", "devices_per_run")
        return self

    @model_validator(mode="after")
    def _tuned_on_other_seeds_and_items(self) -> StudyConfig:
        tune = self.tune
        if tune is None:
            return self
        if self.search is not None:
            raise MismatchError("a study has a search or is tuned, not both", "tune", "search")
        if used := sorted(set(tune.seeds) & set(self.seeds)):
            raise MismatchError(f"seeds that tune an arm compare nothing: {used}", "tune", "seeds")
        if tune.on == self.evaluation.suite or (tune.on == "dev") != (self.evaluation.half == "test"):
            raise MismatchError("an arm is tuned on other items than it is compared on", "tune", "evaluation")
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
