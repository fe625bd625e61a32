"""How often words occur in the training captions: counted once for a data set, then read from a file.

Data in memory and streamed data are counted alike, from the captions of their shards. The file lies in the
data folder under a hash of what the shards hold and of the tokenizer; it may be deleted at any time.
"""

from __future__ import annotations

import itertools
from contextlib import suppress
from pickle import UnpicklingError

import torch

from pgsbench.data import store
from pgsbench.data.pairs import Pairs, captions
from pgsbench.data.samples import Tokenize
from pgsbench.disk.whole_files import UNREADABLE, atomic
from pgsbench.hashing import digest
from pgsbench.masking.text.base import TextView
from pgsbench.masking.text.words import WordCounts, number_words, word_keys
from pgsbench.models.text_masking import word_ends

#: Raised when the same shards and tokenizer would be counted otherwise.
VERSION = 1
#: Tokenizers that write this alike are the same.
_PROBE = "A probe: two Cafés, unforeseeably O'Neill's, 42 & more -- " * 8

_AT_ONCE = 4096  # captions


def word_counts(pairs: Pairs, tokenize: Tokenize, *, progress: store.Progress | None = None) -> WordCounts:
    """Return how often words occur in the captions of pairs, as the tokenizer tells words.

    Args:
        pairs: The data.
        tokenize: The tokenizer of the model; it cuts captions to the context before they are counted.
        progress: Told of every shard that is read.

    Raises:
        DataError: A shard is out of reach: it would be missing in the counts of later runs, too.
        ModelError: The tokenizer does not tell where words end.
    """
    ends = word_ends(tokenize)
    key = digest([VERSION, pairs.digests, tokenize([_PROBE]).tolist()])[:16]
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
