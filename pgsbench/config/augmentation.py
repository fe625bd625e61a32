"""What is drawn anew whenever a picture is seen."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, model_validator

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
