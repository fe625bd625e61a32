"""Rules that every text strategy obeys, as tests to inherit (needs ``pip install '.[test]'``).

A text strategy of your own is tested by one class::

    from pgsbench.masking.text.testing import TextStrategyContract

    class TestLast(TextStrategyContract):
        @pytest.fixture
        def strategy(self):
            return Last(keep=6)
"""

# ruff: noqa: D102  # the name of a test is its documentation

from __future__ import annotations

import dataclasses
from typing import Any, get_args

import pytest
import torch

from pgsbench.masking.noise import Draws
from pgsbench.masking.selection_check import broken_text_rule
from pgsbench.masking.testing import PureContract
from pgsbench.masking.text.base import TextNeed, TextStrategy, TextView
from pgsbench.masking.text.words import WordCounts, number_words, view_of_texts, word_keys

#: Ids of the made-up vocabulary: padding, tokens that begin words, tokens that end them, marks.
FIRST_WHOLE, START, END = 30, 62, 63

#: Lengths of the captions of a batch, with the context: marks alone, one token, many, a full context.
BATCHES: tuple[tuple[tuple[int, ...], int], ...] = (
    ((2, 3, 7, 12, 20), 20),
    ((2,), 8),
    ((32, 31), 32),
    ((3, 3, 3), 3),
    ((77, 5), 77),
)


def make_text_view(
    lengths: tuple[int, ...] = (2, 3, 7, 12, 20), context: int = 20, *, seed: int = 0, progress: float = 0.5
) -> TextView:
    """Return a batch of made-up captions with everything given; half of the tokens end a word."""
    random = torch.Generator().manual_seed(seed)
    ids = torch.zeros(len(lengths), context, dtype=torch.long)
    for row, length in zip(ids, lengths, strict=True):
        row[:length] = torch.randint(1, START, (length,), generator=random)
        row[0], row[length - 1] = START, END
    word_ends = torch.arange(END + 1) >= FIRST_WHOLE
    bare = TextView(ids, torch.tensor(lengths))
    words = number_words(bare, word_ends)
    keys = word_keys(ids, words)[words >= 0]
    counts = (
        WordCounts.none().plus(keys[torch.randint(len(keys), (500,), generator=random)])
        if len(keys)
        else None
    )
    return view_of_texts(
        ids,
        bare.lengths,
        frozenset(get_args(TextNeed)),
        word_ends=word_ends,
        counts=counts or WordCounts.none(),
        progress=progress,
    )


class TextStrategyContract(PureContract):
    """The rules. Subclass it and give one fixture, ``strategy``."""

    protocol = TextStrategy
    all_needs = frozenset(get_args(TextNeed))

    @pytest.fixture
    def view(self, strategy: TextStrategy) -> TextView:
        """A batch of captions that holds only what the strategy says that it needs."""
        return make_text_view().limited_to(strategy.needs)

    def draws(self, view: TextView, seed: int = 0) -> Draws:
        """Return what a strategy draws from for a view, as at the first step of a training."""
        return Draws.of_batch(len(view.ids), seed=seed, of="texts")

    @pytest.mark.parametrize(("lengths", "context"), BATCHES)
    @pytest.mark.parametrize("progress", [0.0, 1.0])
    def test_what_stays_is_well_formed(
        self, strategy: TextStrategy, lengths: tuple[int, ...], context: int, progress: float
    ) -> None:
        for seed in range(5):
            view = make_text_view(lengths, context, seed=seed, progress=progress)
            assert broken_text_rule(self.select(strategy, view, seed), view, strategy.keep) == ""

    def test_a_caption_is_read_alike_in_any_part_of_a_batch(self, strategy: TextStrategy) -> None:
        view = make_text_view((9, 12, 20, 5)).limited_to(strategy.needs)
        whole = self.select(strategy, view)
        rows = torch.tensor([2, 3])
        given = {name: getattr(view, name) for name in ("ids", "lengths", "words", "counts")}
        part: dict[str, Any] = {name: v[rows] for name, v in given.items() if v is not None}
        few = dataclasses.replace(view, **part)
        assert torch.equal(strategy.select(few, draws=Draws(rows, seed=0, of="texts")), whole[rows])

    def test_it_looks_only_at_what_it_needs(self, strategy: TextStrategy) -> None:
        view = make_text_view()
        assert torch.equal(strategy.select(view, draws=self.draws(view)), self.select(strategy, view))
