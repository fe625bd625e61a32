"""Training data: its name, how it is read, and what is drawn anew whenever a picture is seen."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, ValidationInfo, field_validator, model_validator

from pgsbench.config.strict import MismatchError, Strict

Share = Annotated[float, Field(ge=1e-6, le=1)]
Factor = Annotated[float, Field(ge=0.01, le=100)]
Strength = Annotated[float, Field(ge=0, le=10)]


class AugmentConfig(Strict):
    """What is drawn anew whenever a picture is seen, as open_clip's ``aug_cfg``; defaults are open_clip's."""

    scale: tuple[Share, Share] = Field((0.9, 1.0), description="Share of the picture's area that is cropped.")
    ratio: tuple[Factor, Factor] = Field((3 / 4, 4 / 3), description="Width of the crop by its height.")
    color_jitter: tuple[Strength, Strength, Strength, Annotated[float, Field(ge=0, le=0.5)]] | None = Field(
        None, description="Strength of changes of brightness, contrast, saturation and hue."
    )
    color_jitter_prob: float = Field(0.0, ge=0, le=1, description="How often colours are changed.")
    gray_scale_prob: float = Field(0.0, ge=0, le=1, description="How often colours are taken away.")

    @model_validator(mode="after")
    def _ordered(self) -> AugmentConfig:
        if self.scale[0] > self.scale[1] or self.ratio[0] > self.ratio[1]:
            raise MismatchError("scale and ratio are (least, most)", "scale", "ratio")
        if self.color_jitter_prob and self.color_jitter is None:
            raise MismatchError("color_jitter_prob needs color_jitter", "color_jitter_prob", "color_jitter")
        return self


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
        return named(self.train, self.recipe)


def named(name: str, knobs: Mapping[str, float]) -> str:
    """Return the name of a data set with knobs: ``scenes?clutter=0.5&context=0``."""
    said = "&".join(f"{knob}={float(value)!r}".removesuffix(".0") for knob, value in sorted(knobs.items()))
    return f"{name}?{said}" if said else name
