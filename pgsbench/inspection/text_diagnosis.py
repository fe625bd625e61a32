"""What text strategies do to the captions of the first batches of a training."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import islice

import torch
from torch import Tensor

from pgsbench.data.samples import Reader
from pgsbench.data.shards import open_pairs
from pgsbench.masking.text.base import TextStrategy
from pgsbench.models.clip import Clip
from pgsbench.models.text_masking import TextMasking, pieces, word_counts
from pgsbench.reporting.render import PERCENT, Header, Table

#: Tokens named as those that are dropped most, and how often one must be seen to be named.
NUM_NAMED, MIN_SEEN = 5, 20


def text_table(
    clip: Clip,
    reader: Reader,
    texts: Mapping[str, TextStrategy],
    *,
    name: str,
    train: str,
    batch_size: int,
    num_batches: int,
    seed: int,
) -> Table:
    """Measure text strategies on the batches that a training begins with: one row for each.

    Args:
        clip: The model whose tokenizer and context are meant.
        reader: The training data.
        texts: Name -> text strategy.
        name: Of the study or the data, for the title.
        train: The training data, whose words are counted where a strategy needs it.
        batch_size: Captions in a batch.
        num_batches: Batches.
        seed: Decides the batches, and with the next one what is random.

    Raises:
        ModelError: The model cannot be given fewer tokens, or its tokenizer does not tell words.
    """
    batches = islice(reader.batches(seed=seed, batch_size=batch_size), num_batches)
    captions = [batch.texts for batch in batches]
    rows: list[list[object]] = []
    for title, strategy in texts.items():
        if strategy.keep is None:
            continue
        counts = word_counts(open_pairs(train), clip.tokenize) if "counts" in strategy.needs else None
        masking = TextMasking(clip, strategy, counts)
        rows.append([title, *_cells(clip, masking, captions, seed)])
    notes = [
        "Percent. Shortened: captions over the budget; what follows is of these. Tokens kept: of those "
        "between the marks. Overlap: intersection over union of what two seeds keep; 100 is always the same. "
        "Dropped most: the tokens with the largest share of drops, of those that occur at least "
        f"{MIN_SEEN} times."
    ]
    numbers = [(name, PERCENT) for name in ("shortened", "tokens kept", "overlap")]
    header: Header = ["text strategy", *numbers, "dropped most"]
    return Table(f"Captions on {name}", header, rows, notes)


def _cells(clip: Clip, masking: TextMasking, captions: list[Tensor], seed: int) -> list[object]:
    kept = both = either = seen = num_short = num_captions = 0
    num_ids = int(max(ids.max() for ids in captions)) + 1
    seen_of = kept_of = torch.zeros(num_ids, dtype=torch.long)
    for step, ids in enumerate(captions):
        answers = []
        for one in (seed, seed + 1):
            masking.begin_step(seed=one, step=step)
            answers.append(masking.choose(ids))
        place = torch.arange(ids.shape[1])
        between = (place > 0) & (place < ids.argmax(dim=1, keepdim=True))  # the end mark is the highest id
        is_short = (between & ~answers[0]).any(dim=1)
        between = between & is_short[:, None]
        first, second = (answer & between for answer in answers)
        num_short, num_captions = num_short + int(is_short.sum()), num_captions + len(ids)
        kept, seen = kept + int(first.sum()), seen + int(between.sum())
        both, either = both + int((first & second).sum()), either + int((first | second).sum())
        seen_of = seen_of + ids[between].bincount(minlength=num_ids)
        kept_of = kept_of + ids[first].bincount(minlength=num_ids)
    if not num_short:
        return [0.0, None, None, ""]
    dropped = torch.where(seen_of >= MIN_SEEN, 1 - kept_of / seen_of.clamp(min=1), -1.0)
    most = [int(token) for token in dropped.argsort(descending=True, stable=True)[:NUM_NAMED]]
    words = [
        text.strip() for text in pieces(clip.tokenize, torch.tensor([t for t in most if dropped[t] > 0]))
    ]
    shares = (num_short / num_captions, kept / seen, both / either)
    return [*shares, " ".join(words)]
