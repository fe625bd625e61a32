"""What a text strategy sees, what it answers, and what it is.

It is a frozen dataclass as a strategy for images is: fields are its configuration, it learns nothing and
keeps no state.

Shape letters: b captions, l tokens of the context. A caption is a start mark, the tokens of its words, an end
mark, and padding behind it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal, Protocol, get_args, runtime_checkable

import torch
from torch import Tensor

from pgsbench.masking.noise import Draws

TextNeed = Literal["words", "counts"]

#: The marks of start and end, which always stay.
NUM_MARKS = 2
#: More tokens than any text tower reads.
MAX_KEEP = 10_000


@dataclass(frozen=True)
class TextView:
    """All that a text strategy may look at for one batch. What no strategy `needs` is None.

    Attributes:
        ids: (b, l) int64 token ids.
        lengths: (b,) int64 tokens of each caption, both marks included; at least 2.
        progress: Share of the training that is done, in [0, 1].
        words: (b, l) int64 number of the word that a token belongs to, counted from 0 in each caption; -1 for
            marks and padding. A word is what the tokenizer takes for one: a run of letters, a digit, a run of
            other signs.
        counts: (b, l) int64 how often the token's word occurs in the training captions; 0 for marks and
            padding.
        num_words: How many words the training captions have in all; 0 where `counts` is None.
    """

    ids: Tensor
    lengths: Tensor
    progress: float = 0.0
    words: Tensor | None = None
    counts: Tensor | None = None
    num_words: int = 0

    @property
    def shape(self) -> tuple[int, int]:
        """Captions b and tokens l of the context."""
        return self.ids.shape[0], self.ids.shape[1]

    @property
    def place(self) -> Tensor:
        """(l,) int64 place of each token in the context, from 0."""
        return torch.arange(self.ids.shape[1], device=self.ids.device)

    @property
    def tokens(self) -> Tensor:
        """(b, l) bool: what is no padding."""
        return self.place < self.lengths[:, None]

    @property
    def marks(self) -> Tensor:
        """(b, l) bool: start and end."""
        return (self.place == 0) | (self.place == self.lengths[:, None] - 1)

    @property
    def between(self) -> Tensor:
        """(b, l) bool: the tokens between the marks, of which a strategy chooses."""
        return self.tokens & ~self.marks

    def limited_to(self, needs: frozenset[TextNeed]) -> TextView:
        """Return this view without what `needs` does not name: what training shows such a strategy."""
        hidden: dict[str, Any] = {need: None for need in get_args(TextNeed) if need not in needs}
        if "counts" in hidden:
            hidden["num_words"] = 0
        return replace(self, **hidden)


@runtime_checkable
class TextStrategy(Protocol):
    """A text strategy: a frozen dataclass with these class attributes and one pure method.

    Every one obeys the rules that `pgsbench.masking.text.testing.TextStrategyContract` tests.
    """

    needs: ClassVar[frozenset[TextNeed]]

    @property
    def keep(self) -> int | None:
        """Tokens of a caption that enter the text tower, both marks included; None: the whole context."""

    def select(self, view: TextView, *, draws: Draws) -> Tensor:
        """Choose the tokens that stay. It is called on the CPU, before the batch goes to its device.

        Args:
            view: The batch; what the strategy `needs` is there.
            draws: The only source of randomness: ``draws.uniform(l)`` gives (b, l) numbers in [0, 1), each
                row a function of its caption's place in the training.

        Returns:
            (b, l) bool, True for what stays: both marks and at most ``keep - 2`` tokens between them. A
            caption of at most `keep` tokens stays whole. What stays moves together, in its order.
        """


def keep_best(view: TextView, score: Tensor, keep: int) -> Tensor:
    """Return the (b, l) bool answer that keeps the marks and the tokens of the highest scores between them.

    Args:
        view: The batch.
        score: (b, l) floats above -inf, of which those between the marks count.
        keep: Tokens that stay at most, both marks included.
    """
    room = min(keep - NUM_MARKS, score.shape[1])
    best = score.masked_fill(~view.between, -math.inf).topk(room, dim=1).indices
    chosen = torch.zeros_like(view.between).scatter(1, best, True)
    return (chosen & view.between) | view.marks


def check_keep(keep: int) -> None:
    """Raise ValueError unless one token between the marks can stay, and no more than captions have."""
    if not NUM_MARKS < keep <= MAX_KEEP:
        low = NUM_MARKS + 1
        raise ValueError(
            f"keep must be at least {low}, the marks included, at most {MAX_KEEP:,}, not {keep!r}"
        )


def num_entering(keep: int | None, context_length: int) -> int:
    """Return how many tokens of a caption, padding included, enter the text tower: known without running."""
    return context_length if keep is None else min(keep, context_length)


def shorten(ids: Tensor, stays: Tensor, length: int) -> Tensor:
    """Return (b, length) ids: what stays of each caption, moved together in its order, and 0 behind it.

    Args:
        ids: (b, l) token ids.
        stays: (b, l) bool, at most `length` True in each row.
        length: Tokens that enter the tower.
    """
    order = stays.logical_not().byte().argsort(dim=1, stable=True)[:, :length]
    return ids.gather(1, order).masked_fill(~stays.gather(1, order), 0)
