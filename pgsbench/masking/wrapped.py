"""What every option around a strategy passes through."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from pgsbench.masking.base import Need, Strategy, check_chooses_patches


@dataclass(frozen=True)
class Wrapped:
    """A strategy that does more with what another one selects.

    Args:
        strategy: Chooses the patches.
    """

    option: ClassVar[str]  # its key in a study
    strategy: Strategy

    def __post_init__(self) -> None:
        check_chooses_patches(self.strategy, option=self.option)

    @property
    def needs(self) -> frozenset[Need]:
        """What the strategy needs."""
        return self.strategy.needs

    @property
    def mask_ratio(self) -> float:
        """Share of the patches that the strategy drops."""
        return self.strategy.mask_ratio

    @property
    def ema_momentum(self) -> float:
        """That of the strategy, where it has one."""
        momentum: float = getattr(self.strategy, "ema_momentum")  # noqa: B009  # only some strategies have it
        return momentum
