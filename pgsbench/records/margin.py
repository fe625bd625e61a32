"""The margin of a comparison: how small a difference does not matter, in points or as a share of a score."""

from __future__ import annotations

from dataclasses import dataclass

from pgsbench.errors import ConfigError


@dataclass(frozen=True)
class Margin:
    """Smaller differences do not matter.

    Attributes:
        share: Of the score's range, so 0.01 is one point; or of the baseline's mean.
        is_relative: Whether it is of the baseline's mean.
    """

    share: float
    is_relative: bool = False

    @classmethod
    def of(cls, said: float | str) -> Margin:
        """Return the margin that is meant by points, ``1.5`` or ``"1.5"``, or by ``"10%"`` of the baseline.

        Raises:
            ConfigError: It is neither, or not above 0 and below 100.
        """
        text = str(said).strip()
        try:
            number = float(text.removesuffix("%"))
        except ValueError:
            number = float("nan")
        if not 0 < number < 100:
            raise ConfigError(
                "a margin is a number of points above 0 and below 100, or of percent of the baseline's mean",
                where="margin",
                value=said,
                way_out="1, or 10%, for example",
            )
        return cls(number / 100, text.endswith("%"))

    def beside(self, baseline: float) -> float:
        """Return it as a difference of scores.

        Args:
            baseline: Mean score of the baseline, a share; it is taken as it was measured.
        """
        return self.share * baseline if self.is_relative else self.share
