"""Random runs of captions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from pgsbench.masking.noise import Draws
from pgsbench.masking.text.base import NUM_MARKS, TextNeed, TextView, check_keep


@dataclass(frozen=True)
class TokenBlock:
    """A random run of consecutive tokens is kept.

    CLIPA (arXiv 2305.07017), its "block" text masking, and open_clip's tokenizer with the reduction
    ``simple``: the run of ``keep - 2`` tokens begins at each possible place with equal probability.

    Args:
        keep: Tokens of a caption that enter the text tower, the marks of start and end included.
    """

    keep: int = 8
    needs: ClassVar[frozenset[TextNeed]] = frozenset()

    def __post_init__(self) -> None:
        check_keep(self.keep)

    def select(self, view: TextView, *, draws: Draws) -> Tensor:
        """Keep a run from a uniform place on."""
        starts = (view.lengths - self.keep).clamp(min=0) + 1  # places where a run can begin
        draw = draws.uniform().double()  # times `starts` float32 could be rounded up to it
        first = (1 + (draw * starts).floor().long())[:, None]
        inside = (view.place >= first) & (view.place < first + self.keep - NUM_MARKS)
        return (inside & view.between) | view.marks
