"""Captions with the words struck out that a text strategy drops as a training begins."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from torch import Tensor

from pgsbench.data.shards import open_pairs
from pgsbench.errors import ConfigError
from pgsbench.masking.configure import configure_text, text_strategy_class
from pgsbench.masking.text.base import TextStrategy
from pgsbench.models.clip import Clip
from pgsbench.models.text_masking import TextMasking, pieces, word_counts

#: Drawn through the letter before it.
STRIKE = "\N{COMBINING LONG STROKE OVERLAY}"


def named_texts(names: Sequence[str], *, keep: int | None = None) -> dict[str, TextStrategy]:
    """Return text strategies by name, all at one budget where they have one and it is given.

    Raises:
        ConfigError: The budget is out of range.
        PluginError: A name stands for no text strategy.
    """
    found = {}
    for name in names:
        has_budget = "keep" in text_strategy_class(name, where="--texts").__dataclass_fields__
        fields = {"keep": keep} if keep is not None and has_budget else {}
        found[name.rpartition(":")[2]] = configure_text(name, fields, where="--texts")
    return found


def struck(
    captions: Sequence[str], texts: Mapping[str, TextStrategy], clip: Clip, train: str | None, *, seed: int
) -> list[str]:
    """Return each caption with a line below it for each text strategy, in which dropped words are struck out.

    Args:
        captions: The captions.
        texts: Name -> text strategy.
        clip: The model whose tokenizer and context are meant; its weights do not matter.
        train: Training data that the captions are of, whose words are counted where a strategy needs it.
        seed: Decides what is random.

    Raises:
        ConfigError: The captions are of no training data.
        ModelError: The model cannot be given fewer tokens, or its tokenizer does not tell words.
    """
    if not texts:
        return list(captions)
    if train is None:
        raise ConfigError("image files have no captions", where="--texts", way_out="name a study or --data")
    ids = clip.tokenize(list(captions))
    lines = [[caption] for caption in captions]
    for name, strategy in texts.items():
        if strategy.keep is None:
            continue  # the caption above it is what it shows
        counts = word_counts(open_pairs(train), clip.tokenize) if "counts" in strategy.needs else None
        masking = TextMasking(clip, strategy, counts)
        masking.begin_step(seed=seed, step=0)
        stays = masking.choose(ids)
        for row, line in enumerate(lines):
            line.append(f"{name}: {_struck(ids[row], stays[row], clip)}")
    return ["\n".join(line) for line in lines]


def _struck(ids: Tensor, stays: Tensor, clip: Clip) -> str:
    end = int(ids.argmax())  # the mark of the end is the highest id
    text = ""
    for piece, stayed in zip(pieces(clip.tokenize, ids[1:end]), stays[1:end].tolist(), strict=True):
        text += piece if stayed else "".join(letter + STRIKE * (letter != " ") for letter in piece)
    return text.strip()
