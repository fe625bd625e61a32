"""Random tokens of captions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from pgsbench.masking.noise import Draws
from pgsbench.masking.text.base import TextNeed, TextView, check_keep, keep_best


@dataclass(frozen=True)
class RandomTokens:
    """Tokens are kept uniformly at random, in their order.

    CLIPA (arXiv 2305.07017), its "random" text masking, and open_clip's tokenizer with the reduction
    ``random``: ``keep - 2`` of the tokens between the marks. Tokens are drawn and not words, as published, so
    that a part of a word may stay. open_clip draws in the tokenizer, whenever a caption is read; here
    captions are tokenised once, and drawn from anew at each step.

    Args:
        keep: Tokens of a caption that enter the text tower, the marks of start and end included.
    """

    keep: int = 8
    needs: ClassVar[frozenset[TextNeed]] = frozenset()

    def __post_init__(self) -> None:
        check_keep(self.keep)

    def select(self, view: TextView, *, draws: Draws) -> Tensor:
        """Keep the tokens with the largest of l uniform numbers."""
        return keep_best(view, draws.uniform(view.shape[1]), self.keep)
