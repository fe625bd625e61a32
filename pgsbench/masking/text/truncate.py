"""The beginnings of captions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from pgsbench.masking.noise import Draws
from pgsbench.masking.text.base import TextNeed, TextView, check_keep, keep_best


@dataclass(frozen=True)
class Truncate:
    """The first tokens of a caption are kept.

    CLIPA (arXiv 2305.07017), its text "truncation": ``keep - 2`` tokens from the start mark on, then the end
    mark. It draws nothing, so it shows the same words of a caption every time.

    Args:
        keep: Tokens of a caption that enter the text tower, the marks of start and end included.
    """

    keep: int = 8
    needs: ClassVar[frozenset[TextNeed]] = frozenset()

    def __post_init__(self) -> None:
        check_keep(self.keep)

    def select(self, view: TextView, *, draws: Draws) -> Tensor:
        """Keep what comes first."""
        del draws
        return keep_best(view, -view.place.float().expand(view.shape), self.keep)
