"""Image-text retrieval: is a picture's caption among the nearest texts, and the other way round?"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
import torch
from numpy.typing import NDArray

from pgsbench.data.evalset import count_split, decoded, read_lines, read_split
from pgsbench.data.tar import image_of
from pgsbench.errors import DataError
from pgsbench.evaluation.embed import Encoder, collapsed
from pgsbench.evaluation.pictures import NamedImage
from pgsbench.evaluation.protocols.base import Measurement
from pgsbench.evaluation.ranking import ranks_of_right

TYPE_FILE = "dataset_type.txt"


@dataclass(frozen=True)
class Retrieval:
    """Recall at k as in the CLIP literature: a query counts when any right answer is among the first k.

    ``image_recall_at_K`` asks with each caption for its picture, ``text_recall_at_K`` with each picture
    for any of its captions: clip_benchmark's ``image_retrieval_recall@K`` and
    ``text_retrieval_recall@K``. A k larger than the number of candidates is left out. Deviation: a wrong
    candidate that ties with the right one counts as nearer, so a caption that also stands under another
    picture is never found at 1 by its own picture alone; a note says how many there are.

    Attributes:
        recall_at: The values of k.
        split: Folder of the shards.
    """

    primary: ClassVar[str] = "image_recall_at_5"
    recall_at: tuple[int, ...] = (1, 5, 10)
    split: str = "test"

    def __post_init__(self) -> None:
        ks: object = self.recall_at  # a suite's file may say anything
        if not isinstance(ks, tuple) or not ks or not all(isinstance(k, int) and k >= 1 for k in ks):
            raise ValueError(f"recall_at must be a list of whole numbers from 1 on, not {ks!r}")

    @property
    def requires(self) -> tuple[str, ...]:
        """The mark of a retrieval set, and the shards of the split."""
        return (TYPE_FILE, f"{self.split}/nshards.txt")

    def count_items(self, folder: Path) -> int:
        """Return the number of pictures."""
        return count_split(folder, self.split)

    def measure(self, folder: Path, encode: Encoder) -> Iterator[Measurement]:
        """Yield ``image_recall_at_K`` and ``text_recall_at_K``.

        Raises:
            DataError: The folder is no retrieval set, or a picture has no caption.
        """
        if [line.strip().lower() for line in read_lines(folder / TYPE_FILE)[:1]] != ["retrieval"]:
            raise DataError('must say "retrieval"', where=str(folder / TYPE_FILE))
        keys: list[str] = []
        captions: list[list[str]] = []
        images = encode.images(self._samples(folder, keys, captions))
        if not keys:
            raise DataError("the split holds no pictures", where=str(folder / self.split))
        texts = [caption for of_image in captions for caption in of_image]
        texts_of = np.array([len(of_image) for of_image in captions])
        owner = torch.from_numpy(np.repeat(np.arange(len(keys)), texts_of))
        embedded, number = encode.texts(texts), torch.arange(len(keys))
        notes = collapsed(image=images, text=embedded)
        shared = _shared(captions)
        if shared:
            notes += (f"{len(shared)} captions stand under more than one picture and tie",)
        ties = sum(not shared.isdisjoint(of_image) for of_image in captions)

        image_ranks = ranks_of_right(embedded, owner, images, number).numpy()
        text_ranks = ranks_of_right(images, number, embedded, owner).numpy()
        items = [f"{key}#{i}" for key, count in zip(keys, texts_of, strict=True) for i in range(count)]
        units = [keys[i] for i in owner.tolist()]
        for k in self.recall_at:
            if k <= len(keys):
                hits = (image_ranks < k).astype(np.float64)
                chance = k / len(keys)
                yield Measurement(f"image_recall_at_{k}", hits, items, chance, units=units, notes=notes)
            if k <= len(texts):
                hits = (text_ranks < k).astype(np.float64)
                chance = _chance_of_any(texts_of, len(texts), k)
                yield Measurement(f"text_recall_at_{k}", hits, keys, chance, num_ties=ties, notes=notes)

    def _samples(self, folder: Path, keys: list[str], captions: list[list[str]]) -> Iterator[NamedImage]:
        for key, parts in read_split(folder, self.split):
            where = f"{folder / self.split}: sample {key}"
            image = image_of(parts, where)
            found = decoded(parts.get("txt", b""), where).splitlines()
            if not found or not all(caption.strip() for caption in found):
                raise DataError(
                    "each picture needs captions (KEY.txt), one a line and none empty", where=where,
                    value=found, way_out="pictures and captions do not match; make or fetch the set again",
                )  # fmt: skip
            keys.append(key)
            captions.append(found)
            yield where, image


def _shared(captions: Sequence[Sequence[str]]) -> set[str]:
    pictures_of: dict[str, int] = {}
    for of_image in captions:
        for caption in set(of_image):
            pictures_of[caption] = pictures_of.get(caption, 0) + 1
    return {caption for caption, count in pictures_of.items() if count > 1}


def _chance_of_any(texts_of: NDArray[np.int64], num_texts: int, k: int) -> float:
    """Return the mean chance that k random texts hold one of a picture's own."""
    miss = {m: math.comb(num_texts - m, k) / math.comb(num_texts, k) for m in set(texts_of.tolist())}
    return float(np.mean([1 - miss[m] for m in texts_of.tolist()]))
