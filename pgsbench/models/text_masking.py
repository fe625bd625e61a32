"""Captions in training: their words are counted, tokens chosen, and the text tower reads those alone."""

from __future__ import annotations

import itertools
import time
from contextlib import suppress
from functools import partial
from pickle import UnpicklingError
from typing import Any

import torch
from torch import Tensor

from pgsbench.data import store
from pgsbench.data.pairs import Pairs, captions
from pgsbench.disk.whole_files import UNREADABLE, atomic
from pgsbench.errors import ModelError
from pgsbench.hashing import digest
from pgsbench.masking.noise import Draws
from pgsbench.masking.selection_check import text_select_checked
from pgsbench.masking.text.base import TextStrategy, TextView, num_entering, shorten
from pgsbench.masking.text.words import WordCounts, number_words, view_of_texts, word_keys
from pgsbench.models.clip import Clip, Tokenize
from pgsbench.models.openclip import open_clip
from pgsbench.models.short_texts import ShortTexts


class TextMasking:
    """The text strategy of one model in training, as `pgsbench.models.masked_tower.Masking` is for images.

    What it draws for a caption follows from what `begin_step` is given alone, and has nothing to do with the
    mask of its picture. A training shortens captions on the CPU, before they go to a device.

    Args:
        clip: The model; nothing in it is changed.
        strategy: Which tokens stay.
        counts: How often words occur in the training captions, where the strategy needs it.

    Attributes:
        strategy: As given.
        active: False leaves captions whole, as in a phase of unmasked tuning.
        num_kept: Tokens of each caption, padding included, that `shorten` returned last.
        select_seconds: Seconds spent shortening so far.

    Raises:
        ModelError: The text tower needs its whole context, or the tokenizer does not tell where words end.
    """

    def __init__(self, clip: Clip, strategy: TextStrategy, counts: WordCounts | None = None) -> None:
        self.strategy, self.active, self.num_kept = strategy, True, 0
        self.select_seconds = 0.0
        self._model: Any = clip.model
        self._context = None if strategy.keep is None else ShortTexts(clip.model)
        if self._context is not None and not self._context.can_cut:
            raise ModelError(
                "this text tower cannot take fewer tokens than its context has",
                where="text",
                value=type(getattr(clip.model, "text", clip.model)).__name__,
                way_out="use a model with open_clip's own text tower that is causal and reads off at the "
                "end mark of a text, such as ViT-B-16, or leave `text` out",
            )
        self._word_ends = word_ends(clip.tokenize) if strategy.needs else None
        self._counts = counts
        self._place: tuple[int, int] | None = None
        self._samples: Tensor | None = None
        self._progress, self._is_checked = 0.0, False

    def begin_step(
        self, *, seed: int, step: int, samples: Tensor | None = None, progress: float = 0.0
    ) -> None:
        """Say which captions come next; see `Masking.begin_step`."""
        self._place, self._samples, self._progress = (seed, step), samples, progress

    def shorten(self, ids: Tensor) -> Tensor:
        """Return (b, k) ids that enter the tower, from (b, l) ids of whole captions, on their device."""
        length = num_entering(self.strategy.keep, ids.shape[1]) if self.active else ids.shape[1]
        self.num_kept = length
        if self._context is None or length == ids.shape[1]:
            return ids
        start = time.perf_counter()
        short = shorten(ids, self.choose(ids), length)
        self.select_seconds += time.perf_counter() - start
        return short

    def choose(self, ids: Tensor) -> Tensor:
        """Return (b, l) bool which tokens of whole captions (b, l) stay."""
        assert self._context is not None
        if self._place is None:
            raise RuntimeError("begin_step() must be called before captions are shortened")
        view = view_of_texts(
            ids,
            self._context.lengths(ids),
            self.strategy.needs,
            word_ends=self._word_ends,
            counts=self._counts,
            progress=self._progress,
        )
        seed, step = self._place
        if self._samples is None:
            draws = Draws.of_batch(len(ids), seed=seed, step=step, device=ids.device, of="texts")
        else:
            draws = Draws(self._samples, seed=seed, step=step, of="texts")
        select = self.strategy.select if self._is_checked else partial(text_select_checked, self.strategy)
        stays, self._is_checked = select(view, draws=draws), True
        return stays

    def encode(self, ids: Tensor, *, normalize: bool) -> Tensor:
        """Return the (b, d) embeddings of captions that `shorten` has returned; they are masked."""
        assert self._context is not None
        return self._context.encode(ids, normalize=normalize)

    def forward(self, images: Tensor, ids: Tensor) -> Any:
        """Return what the model returns for pictures and captions that `shorten` has returned."""
        return self._model(images, ids) if self._context is None else self._context.forward(images, ids)


def word_ends(tokenize: Tokenize) -> Tensor:
    """Return (vocabulary,) bool which tokens end a word.

    CLIP's byte pairs say so themselves: text is first split into words (runs of letters, single digits, runs
    of other signs), and the last token of each word is marked.

    Raises:
        ModelError: It is another tokenizer.
    """
    if not isinstance(tokenize, open_clip.SimpleTokenizer):
        raise ModelError(
            "this tokenizer does not tell where words end, which the text strategy must know",
            where="text.strategy",
            value=type(tokenize).__name__,
            way_out="use a model with CLIP's own tokenizer, such as ViT-B-16, or a text strategy that needs "
            "no words: truncate, random, block",
        )
    texts = [tokenize.decoder[token] for token in range(tokenize.vocab_size)]
    return torch.tensor([text.endswith("</w>") for text in texts])


#: Raised when the same shards and tokenizer would be counted otherwise.
_COUNTS_VERSION = 1
#: Tokenizers that write this alike are the same.
_PROBE = "A probe: two Cafés, unforeseeably O'Neill's, 42 & more -- " * 8

_AT_ONCE = 4096  # captions


def word_counts(pairs: Pairs, tokenize: Tokenize, *, progress: store.Progress | None = None) -> WordCounts:
    """Return how often words occur in the captions of pairs, as the tokenizer tells words.

    They are counted once for a data set, then read from a file in the data folder, under a hash of the
    shards' states and of the tokenizer. It may be deleted at any time.

    Args:
        pairs: The data.
        tokenize: The tokenizer of the model; it cuts captions to the context before they are counted.
        progress: Told of every shard that is read.

    Raises:
        DataError: A shard is out of reach: it would be missing in the counts of later runs, too.
        ModelError: The tokenizer does not tell where words end.
    """
    ends = word_ends(tokenize)
    key = digest([_COUNTS_VERSION, pairs.state, tokenize([_PROBE]).tolist()])[:16]
    path = store.root() / "words" / f"{key}.pt"
    with suppress(*UNREADABLE, RuntimeError, UnpicklingError):
        return WordCounts(**torch.load(path, weights_only=True))
    counts = WordCounts.none()
    texts = (text for of_pair in captions(pairs, progress, "counting words") for text in of_pair)
    while some := list(itertools.islice(texts, _AT_ONCE)):
        ids = tokenize(some).long()
        lengths = ids.argmax(dim=1) + 1  # the end mark is the highest id of CLIP's vocabulary
        words = number_words(TextView(ids, lengths), ends)
        first = (words >= 0) & (words != words.roll(1, dims=1))
        counts = counts.plus(word_keys(ids, words)[first])
    with suppress(OSError), atomic(path) as scratch:  # else they are counted again
        torch.save(vars(counts), scratch)
    return counts
