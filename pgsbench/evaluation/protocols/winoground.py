"""Winoground: two pictures and two captions of the same words; which caption belongs to which picture?"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np

from pgsbench.data.evalset import check_pictures, read_lines, read_pictures
from pgsbench.errors import DataError
from pgsbench.evaluation.embed import TIE_BELOW, Encoder, collapsed
from pgsbench.evaluation.protocols.base import Measurement

EXAMPLES = "examples.jsonl"
IMAGES = "images"

#: What guessing gives: two choices between two; for the group score the two right ones of four similarities
#: must be the two largest, which is one of six equally likely pairs (Thrush et al., 2022).
CHANCE_EACH, CHANCE_GROUP = 1 / 4, 1 / 6


@dataclass(frozen=True)
class Example:
    """Two pictures and their captions: the captions share their words, the pictures show who does what.

    Attributes:
        key: Its number in the set.
        images: File names of the two pictures.
        captions: Their captions, in the same order.
    """

    key: str
    images: tuple[str, str]
    captions: tuple[str, str]


@dataclass(frozen=True)
class Winoground:
    """Winoground's three scores (Thrush et al., 2022, section 4.1), under clip_benchmark's names.

    ``text_acc`` is the text score: both pictures are closer to their own caption; ``image_acc`` the image
    score: both captions are closer to their own picture; ``acc`` the group score: both. Deviation from
    clip_benchmark: a tie is wrong, as in the paper, and what only float32's rounding tells apart
    (`TIE_BELOW`) is one; there the first of two equals wins.
    """

    metrics: ClassVar[tuple[str, ...]] = ("text_acc", "image_acc", "acc")
    primary: ClassVar[str] = "acc"

    @property
    def requires(self) -> tuple[str, ...]:
        """The examples and the folder of pictures."""
        return (EXAMPLES, IMAGES)

    def count_items(self, folder: Path) -> int:
        """Return the number of examples whose pictures are there.

        Raises:
            DataError: Pictures are missing.
        """
        return len(read_examples(folder))

    def measure(self, folder: Path, encode: Encoder) -> Iterator[Measurement]:
        """Yield ``text_acc``, ``image_acc`` and ``acc``.

        Raises:
            DataError: There are no examples, or pictures are missing.
        """
        examples = list(encode.first(read_examples(folder)))
        pictures = encode.images(read_pictures(folder / IMAGES, _pictures_of(examples)))
        texts = encode.texts([caption for example in examples for caption in example.captions])
        images, captions = pictures.view(len(examples), 2, -1), texts.view(len(examples), 2, -1)
        # In double precision, so that what ties does not depend on the order of a sum.
        caption_gap = captions[:, 0].double() - captions[:, 1].double()
        image_gap = images[:, 0].double() - images[:, 1].double()
        by_image = (images.double() * caption_gap[:, None]).sum(dim=2).numpy()  # (n, 2): > 0, then < 0
        by_caption = (captions.double() * image_gap[:, None]).sum(dim=2).numpy()
        text = (by_image[:, 0] >= TIE_BELOW) & (by_image[:, 1] <= -TIE_BELOW)
        image = (by_caption[:, 0] >= TIE_BELOW) & (by_caption[:, 1] <= -TIE_BELOW)
        notes = collapsed(image=pictures, text=texts)
        if ties := int((np.abs(np.hstack([by_image, by_caption])) < TIE_BELOW).any(axis=1).sum()):
            notes += (f"{ties} of {len(examples)} examples have ties, which count as wrong",)
        keys = [example.key for example in examples]
        outcomes = (("text_acc", text, CHANCE_EACH), ("image_acc", image, CHANCE_EACH))
        for metric, correct, chance in (*outcomes, ("acc", text & image, CHANCE_GROUP)):
            yield Measurement(metric, correct.astype(np.float64), keys, chance, num_ties=ties, notes=notes)


def read_examples(folder: Path) -> list[Example]:
    """Return the examples of a set in Winoground's own layout.

    One JSON object a line in ``examples.jsonl``: ``id``, ``image_0``, ``image_1`` (names of files in
    ``images/``, with or without ``.png``), ``caption_0``, ``caption_1``.

    Raises:
        DataError: The file is missing, not of this format or empty, or pictures are missing.
    """
    path = folder / EXAMPLES
    examples = []
    try:
        for line in read_lines(path):
            entry = json.loads(line)
            images = (_file_name(entry["image_0"]), _file_name(entry["image_1"]))
            captions = (entry["caption_0"], entry["caption_1"])
            if not all(isinstance(caption, str) for caption in captions):
                raise TypeError(f"{captions!r} is no text")
            examples.append(Example(str(entry["id"]), images, captions))
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise DataError(
            f"not Winoground's examples ({type(error).__name__}: {error})",
            where=str(path),
            way_out="each line needs id, image_0, image_1, caption_0 and caption_1",
        ) from error
    if not examples:
        raise DataError("there are no examples", where=str(path))
    check_pictures(folder / IMAGES, _pictures_of(examples), path)
    return examples


def _file_name(image: str) -> str:
    return image if Path(image).suffix else f"{image}.png"


def _pictures_of(examples: Sequence[Example]) -> list[str]:
    return [name for example in examples for name in example.images]
