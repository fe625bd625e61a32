"""Text strategies that look at places alone: whole captions, beginnings, random tokens, random runs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from pgsbench.masking.noise import Draws
from pgsbench.masking.text.base import NUM_MARKS, TextNeed, TextView, check_keep, keep_best


@dataclass(frozen=True)
class WholeText:
    """Whole captions: plain CLIP.

    CLIP (arXiv 2103.00020) reads the whole context, padding included.
    """

    keep: ClassVar[int | None] = None
    needs: ClassVar[frozenset[TextNeed]] = frozenset()

    def select(self, view: TextView, *, draws: Draws) -> Tensor:
        """Keep every token."""
        del draws
        return view.tokens


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
