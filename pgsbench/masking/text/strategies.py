"""Text strategies: whole captions, beginnings, random tokens, random runs, rare words."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from pgsbench.masking.base import check_range
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
class _Shortened:
    keep: int = 8
    needs: ClassVar[frozenset[TextNeed]] = frozenset()

    def __post_init__(self) -> None:
        check_keep(self.keep)


@dataclass(frozen=True)
class Truncate(_Shortened):
    """The first tokens of a caption are kept.

    CLIPA (arXiv 2305.07017), its text "truncation": ``keep - 2`` tokens from the start mark on, then the end
    mark. It draws nothing, so it shows the same words of a caption every time.

    Args:
        keep: Tokens of a caption that enter the text tower, the marks of start and end included.
    """

    def select(self, view: TextView, *, draws: Draws) -> Tensor:
        """Keep what comes first."""
        del draws
        return keep_best(view, -view.place.float().expand(view.shape), self.keep)


@dataclass(frozen=True)
class RandomTokens(_Shortened):
    """Tokens are kept uniformly at random, in their order.

    CLIPA (arXiv 2305.07017), its "random" text masking, and open_clip's tokenizer with the reduction
    ``random``: ``keep - 2`` of the tokens between the marks. Tokens are drawn and not words, as published, so
    that a part of a word may stay. open_clip draws in the tokenizer, whenever a caption is read; here
    captions are tokenised once, and drawn from anew at each step.

    Args:
        keep: Tokens of a caption that enter the text tower, the marks of start and end included.
    """

    def select(self, view: TextView, *, draws: Draws) -> Tensor:
        """Keep the tokens with the largest of l uniform numbers."""
        return keep_best(view, draws.uniform(view.shape[1]), self.keep)


@dataclass(frozen=True)
class TokenBlock(_Shortened):
    """A random run of consecutive tokens is kept.

    CLIPA (arXiv 2305.07017), its "block" text masking, and open_clip's tokenizer with the reduction
    ``simple``: the run of ``keep - 2`` tokens begins at each possible place with equal probability.

    Args:
        keep: Tokens of a caption that enter the text tower, the marks of start and end included.
    """

    def select(self, view: TextView, *, draws: Draws) -> Tensor:
        """Keep a run from a uniform place on."""
        starts = (view.lengths - self.keep).clamp(min=0) + 1  # places where a run can begin
        draw = draws.uniform().double()  # times `starts` float32 could be rounded up to it
        first = (1 + (draw * starts).floor().long())[:, None]
        inside = (view.place >= first) & (view.place < first + self.keep - NUM_MARKS)
        return (inside & view.between) | view.marks


@dataclass(frozen=True)
class Frequency(_Shortened):
    """CLIPF: words are kept at random, the rarer the word the likelier.

    Word-frequency masking (arXiv 2412.16148). With f(w) the share of a word among all words of the training
    captions, ``d(w) = max(0, 1 - sqrt(threshold / f(w)))`` says how readily a word is dropped: the
    sub-sampling of word2vec (arXiv 1310.4546, section 2.3). Words that are seen fewer than `min_count` times
    have d = 1. The ``keep - 2`` words of a caption with the largest ``u - d(w)``, u uniform in [0, 1), stay
    in their order. Where they have more tokens than that, the last tokens are cut off.

    Deviations: a word is what the tokenizer takes for one, in lower case, where the published code splits the
    raw caption; so punctuation counts as words. Captions are cut to the context before they are counted.

    The published threshold is for millions of captions. On few words, as in generated worlds, every f(w) is
    far above it and all d(w) are nearly 1, so the choice is nearly uniform. A threshold near the share of the
    words that should rather stay tells them apart.

    Args:
        keep: Tokens of a caption that enter the text tower, the marks of start and end included.
        threshold: Share of all words up to which a word is never dropped for its frequency; as published for
            CC12M.
        min_count: Words that are seen less often are dropped first.
    """

    threshold: float = 1e-6
    min_count: int = 5
    needs: ClassVar[frozenset[TextNeed]] = frozenset({"words", "counts"})

    def __post_init__(self) -> None:
        super().__post_init__()
        check_range("threshold", self.threshold, 0.0, 1.0)
        check_range("min_count", self.min_count, 0, 10**9)

    def select(self, view: TextView, *, draws: Draws) -> Tensor:
        """Keep the tokens of the words with the highest scores, from the first on."""
        assert view.words is not None
        draw = draws.uniform(view.shape[1])  # one for each word, at its number
        number = view.words.clamp(min=0)
        score = torch.where(view.between, draw.gather(1, number) - self.drop(view), -math.inf)
        of_word = torch.full_like(score, -math.inf).scatter_reduce(1, number, score, "amax")
        best = of_word.topk(min(self.keep - NUM_MARKS, view.shape[1]), dim=1).indices
        chosen = torch.zeros_like(view.between).scatter(1, best, True).gather(1, number)
        # Chosen tokens first, and of these what comes first.
        order = torch.where(chosen, 0.0, -float(view.shape[1])) - view.place
        return keep_best(view, order, self.keep)

    def drop(self, view: TextView) -> Tensor:
        """Return (b, l) float32 probability d(w) of the word of each token."""
        assert view.counts is not None
        share = view.counts.clamp(min=1).double() / max(1, view.num_words)
        drop = (1.0 - (self.threshold / share).sqrt()).clamp(min=0.0)
        return torch.where(view.counts < self.min_count, 1.0, drop).float()
