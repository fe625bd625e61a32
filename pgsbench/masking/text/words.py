"""The words of captions, told from their token ids, and how often each occurs.

Tokenisers of CLIP's kind mark the token that ends a word, so that words can be told from ids alone. A word is
known by a 64-bit key, a hash of its ids: of a million words two share a key with a probability of 3e-8.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from pgsbench.masking.text.base import TextNeed, TextView

# Constants of splitmix64, as signed 64-bit numbers.
_STEP, _MIX_1, _MIX_2 = -0x61C8864680B583EB, -0x40A7B892E31B1A47, -0x6B2FB644ECCEEE15


@dataclass(frozen=True)
class WordCounts:
    """How often words occur in the training captions.

    Attributes:
        keys: (m,) int64 keys of the words, ascending.
        counts: (m,) int64 how often each occurs.
    """

    keys: Tensor
    counts: Tensor

    @classmethod
    def none(cls) -> WordCounts:
        """Return the counts of no captions at all."""
        return cls(torch.empty(0, dtype=torch.long), torch.empty(0, dtype=torch.long))

    @property
    def num_words(self) -> int:
        """Words in all, repetitions included."""
        return int(self.counts.sum())

    def plus(self, keys: Tensor) -> WordCounts:
        """Return the counts with words, given by any number of keys, added to them."""
        new, new_counts = torch.unique(keys, return_counts=True)
        both, place = torch.unique(torch.cat([self.keys, new]), return_inverse=True)
        total = torch.zeros_like(both).scatter_add(0, place, torch.cat([self.counts, new_counts]))
        return WordCounts(both, total)

    def of(self, keys: Tensor) -> Tensor:
        """Return how often words occur, int64 in the shape of their keys; 0 for unknown ones."""
        if not len(self.keys):
            return torch.zeros_like(keys)
        place = torch.searchsorted(self.keys, keys).clamp(max=len(self.keys) - 1)
        return torch.where(self.keys[place] == keys, self.counts[place], 0)


def view_of_texts(
    ids: Tensor,
    lengths: Tensor,
    needs: frozenset[TextNeed],
    *,
    word_ends: Tensor | None = None,
    counts: WordCounts | None = None,
    progress: float = 0.0,
) -> TextView:
    """Return what a text strategy with these `needs` sees of a batch.

    Args:
        ids: (b, l) token ids.
        lengths: (b,) tokens of each caption, both marks included.
        needs: What the strategy needs; the rest is not computed.
        word_ends: (vocabulary,) bool which tokens end a word; needed where `needs` is not empty.
        counts: How often words occur; needed for "counts".
        progress: Share of the training that is done, in [0, 1].
    """
    view = TextView(ids, lengths, progress)
    if not needs:
        return view
    assert word_ends is not None
    words = number_words(view, word_ends)
    if "counts" not in needs:
        return TextView(ids, lengths, progress, words=words)
    assert counts is not None
    found = torch.where(words >= 0, counts.of(word_keys(ids, words)), 0)
    shown = words if "words" in needs else None
    return TextView(ids, lengths, progress, words=shown, counts=found, num_words=counts.num_words)


def number_words(view: TextView, word_ends: Tensor) -> Tensor:
    """Return (b, l) int64 number of each token's word in its caption; -1 for marks and padding.

    Args:
        view: The batch; its ids and lengths.
        word_ends: (vocabulary,) bool which tokens end a word. The word before the end mark ends there, also
            where the context has cut it off.
    """
    ended = word_ends.to(view.ids.device)[view.ids].roll(1, dims=1)  # whether the token before ends a word
    first = view.between & (ended | (view.place == 1))
    return torch.where(view.between, first.cumsum(dim=1) - 1, -1)


def word_keys(ids: Tensor, words: Tensor) -> Tensor:
    """Return (b, l) int64 the key of each token's word; 0 for marks and padding.

    Args:
        ids: (b, l) token ids.
        words: (b, l) as `number_words` returns them.
    """
    inside = words >= 0
    number = words.clamp(min=0)
    place = torch.arange(ids.shape[1], device=ids.device).expand_as(ids)
    start = torch.full_like(ids, ids.shape[1]).scatter_reduce(
        1, number, torch.where(inside, place, ids.shape[1]), "amin"
    )
    place_in_word = place - start.gather(1, number)
    mixed = torch.where(inside, _mix(ids * _STEP + (place_in_word + 1) * _MIX_1), 0)
    keys = torch.zeros_like(ids).scatter_add(1, number, mixed)
    return torch.where(inside, _mix(keys.gather(1, number)), 0)


def _mix(value: Tensor) -> Tensor:
    # The finaliser of splitmix64; numbers wrap around, and shifts must not repeat the sign.
    value = (value ^ _shifted(value, 30)) * _MIX_1
    value = (value ^ _shifted(value, 27)) * _MIX_2
    return value ^ _shifted(value, 31)


def _shifted(value: Tensor, bits: int) -> Tensor:
    return (value >> bits) & ((1 << (64 - bits)) - 1)
