"""Every built-in text strategy obeys the contract, and chooses what its paper says."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import pytest
import torch
from torch import Tensor

from pgsbench.errors import ConfigError, PluginError
from pgsbench.masking.configure import configure_text
from pgsbench.masking.noise import Draws
from pgsbench.masking.selection_check import text_select_checked
from pgsbench.masking.text.base import TextNeed, TextStrategy, TextView, shorten
from pgsbench.masking.text.strategies import Frequency, Truncate
from pgsbench.masking.text.testing import END, START, TextStrategyContract, make_text_view


@pytest.mark.parametrize(
    ("name", "fields"),
    [
        ("none", {}),
        ("truncate", {"keep": 3}),
        ("random", {"keep": 3}),
        ("block", {"keep": 4}),
        ("block", {"keep": 100}),
        ("frequency", {"keep": 6, "threshold": 1e-2}),
        ("frequency", {"keep": 12, "min_count": 0}),
    ],
)
class TestBuiltIn(TextStrategyContract):
    @pytest.fixture
    def strategy(self, name: str, fields: dict[str, Any]) -> TextStrategy:
        return configure_text(name, fields)


def chosen(strategy: TextStrategy, view: TextView, seed: int = 0) -> Tensor:
    return strategy.select(view, draws=Draws.of_batch(len(view.ids), seed=seed, of="texts"))


def test_the_first_tokens_are_the_first() -> None:
    stays = chosen(configure_text("truncate", {"keep": 5}), make_text_view((12,)))
    assert stays[0].nonzero().flatten().tolist() == [0, 1, 2, 3, 11]


def test_a_block_is_one_and_begins_everywhere_alike() -> None:
    view = make_text_view((12,) * 4000)
    stays = chosen(configure_text("block", {"keep": 8}), view)[:, 1:11]
    assert (stays.int().diff(dim=1) == 1).sum(dim=1).max() <= 1
    assert (stays.sum(dim=1) == 6).all()
    starts = Counter(stays.int().argmax(dim=1).tolist())
    assert sorted(starts) == [0, 1, 2, 3, 4]
    assert all(abs(count - 800) < 5 * 26 for count in starts.values())


def naive_frequency(view: TextView, strategy: Frequency, draw: Tensor) -> list[list[int]]:
    """The places that stay, word by word as the paper has it."""
    assert view.words is not None
    assert view.counts is not None
    rows = []
    for row in range(view.shape[0]):
        length = int(view.lengths[row])
        words: dict[int, list[int]] = {}
        for place in range(1, length - 1):
            words.setdefault(int(view.words[row, place]), []).append(place)
        scores = {}
        for word, places in words.items():
            count = int(view.counts[row, places[0]])
            drop = 1.0
            if count >= strategy.min_count:
                drop = max(0.0, 1 - (strategy.threshold / (count / view.num_words)) ** 0.5)
            scores[word] = float(draw[row, word]) - drop
        best = sorted(scores, key=lambda word: -scores[word])[: strategy.keep - 2]
        places = [place for word in sorted(best) for place in words[word]][: strategy.keep - 2]
        rows.append([0, *places, length - 1])
    return rows


@pytest.mark.parametrize("keep", [3, 6, 15])
@pytest.mark.parametrize("threshold", [1e-6, 5e-3, 2e-2])
def test_frequency_chooses_as_the_paper_word_by_word(keep: int, threshold: float) -> None:
    strategy = Frequency(keep=keep, threshold=threshold)
    for seed in range(20):
        view = make_text_view((2, 3, 7, 12, 20, 20, 17), seed=seed)
        draw = Draws.of_batch(len(view.ids), seed=seed, of="texts").uniform(view.shape[1])
        stays = chosen(strategy, view, seed)
        found = [row.nonzero().flatten().tolist() for row in stays]
        assert found == naive_frequency(view, strategy, draw)


def test_what_stays_moves_together() -> None:
    ids = torch.tensor([[START, 7, 8, 9, END, 0], [START, 5, END, 0, 0, 0]])
    stays = torch.tensor([[1, 0, 1, 0, 1, 0], [1, 1, 1, 0, 0, 0]], dtype=torch.bool)
    assert shorten(ids, stays, 4).tolist() == [[START, 8, END, 0], [START, 5, END, 0]]


@dataclass(frozen=True)
class Changed:
    """Keeps what comes first, and then changes its mind."""

    change: Callable[[Tensor, TextView], Tensor]
    keep: int = 5
    needs: ClassVar[frozenset[TextNeed]] = frozenset()

    def select(self, view: TextView, *, draws: Draws) -> Tensor:
        return self.change(Truncate(self.keep).select(view, draws=draws), view)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda stays, view: stays & (view.place > 0), "marks of start and end"),
        (lambda stays, view: stays | (view.place == 19), "padding must not stay"),
        (lambda stays, view: stays & (view.marks | (view.place == 1)), "must stay whole"),
        (lambda stays, view: view.tokens, "at most `keep`"),
        (lambda stays, view: torch.where(view.lengths[:, None] > 5, view.marks, stays), "at least one token"),
        (lambda stays, view: stays.nonzero(), "bool tensor of the shape"),
        (lambda stays, view: stays & (view.words > 0), "`needs` does not name"),
    ],
)
def test_a_wrong_answer_is_refused_in_words(change: Callable[..., Tensor], said: str) -> None:
    view = make_text_view((2, 4, 12, 19)).limited_to(frozenset())
    with pytest.raises(PluginError, match=said):
        text_select_checked(Changed(change), view, draws=Draws.of_batch(len(view.ids), seed=0))


def test_mistakes_in_fields_are_told_at_once() -> None:
    with pytest.raises(ConfigError, match=r"text\.keep") as caught:
        configure_text("frequency", {"keep": 2, "treshold": 1})
    assert len(caught.value.problems) == 2
    with pytest.raises(PluginError, match="unknown text strategy"):
        configure_text("frequent", {})
