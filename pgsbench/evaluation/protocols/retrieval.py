"""Image-text retrieval: is a picture's caption among the nearest texts, and the other way round?"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pgsbench.data.evalset import check_name, count_split, decoded, read_images, read_lines
from pgsbench.errors import DataError
from pgsbench.evaluation.embed import Encoder, collapsed
from pgsbench.evaluation.protocols.base import Measurement, Shown, encode_split
from pgsbench.evaluation.ranking import distinct_rows, num_repeated, ranks_of_right

TYPE_FILE = "dataset_type.txt"


@dataclass(frozen=True)
class Retrieval:
    """Recall at k as in the CLIP literature: a query counts when any right answer is among the first k.

    ``image_recall_at_K`` asks with each caption for its picture, ``text_recall_at_K`` with each picture
    for any of its captions: clip_benchmark's ``image_retrieval_recall@K`` and
    ``text_retrieval_recall@K``. A k larger than the number of candidates is left out. Deviation: a wrong
    candidate that ties with the right one counts as nearer, so a caption that also stands under another
    picture is never found at 1 by its own picture alone, nor is a picture that is there twice; a note says
    how many there are. Each item's file has the ``rank`` of its first right answer, counted from 1.

    Attributes:
        recall_at: The values of k.
        split: Folder of the shards.
    """

    primary: ClassVar[str] = "image_recall_at_5"
    recall_at: tuple[int, ...] = (1, 5, 10)
    split: str = "test"

    def __post_init__(self) -> None:
        if not self.recall_at or min(self.recall_at) < 1:
            raise ValueError(f"recall_at must be a list of whole numbers from 1 on, not {self.recall_at!r}")
        check_name("split", self.split)

    @property
    def requires(self) -> tuple[str, ...]:
        """The mark of a retrieval set, and the shards of the split."""
        return (TYPE_FILE, f"{self.split}/nshards.txt")

    @property
    def metrics(self) -> tuple[str, ...]:
        """Both ways at every k."""
        return tuple(f"{way}_recall_at_{k}" for k in self.recall_at for way in ("image", "text"))

    def count_items(self, folder: Path) -> int:
        """Return the number of pictures."""
        return count_split(folder, self.split)

    def show(self, folder: Path, items: Collection[str]) -> dict[str, Shown]:
        """Return pictures with the caption that an item asks with, or with all of theirs."""
        keys, found = {item.rpartition("#")[0] for item in items} | set(items), dict[str, Shown]()
        for key, where, image, parts in read_images(folder, self.split, keys=keys):
            captions = decoded(parts.get("txt", b""), where).splitlines()
            texts = {key: " / ".join(captions)} | {f"{key}#{i}": text for i, text in enumerate(captions)}
            found |= {item: Shown(image, text) for item, text in texts.items() if item in items}
        return found

    def measure(self, folder: Path, encode: Encoder) -> Iterator[Measurement]:
        """Yield ``image_recall_at_K`` and ``text_recall_at_K``.

        Raises:
            DataError: The folder is no retrieval set, or a picture has no caption.
        """
        if [line.strip().lower() for line in read_lines(folder / TYPE_FILE)[:1]] != ["retrieval"]:
            raise DataError('must say "retrieval"', where=str(folder / TYPE_FILE))
        keys, captions, images = encode_split(encode, folder, self.split, _captions_of)
        texts = [caption for of_image in captions for caption in of_image]
        texts_of = np.array([len(of_image) for of_image in captions])
        owner = torch.from_numpy(np.repeat(np.arange(len(keys)), texts_of))
        embedded, number = encode.texts(texts), torch.arange(len(keys))
        notes = image_notes = text_notes = collapsed(image=images, text=embedded)
        if repeated := num_repeated(images):
            image_notes = (*notes, f"{repeated} pictures repeat an earlier one and tie with it")
        if shared := _num_shared(embedded, owner):
            text_notes = (*notes, f"{shared} captions stand under more than one picture and tie")

        by_text = ranks_of_right(embedded, owner, images, number)
        by_image = ranks_of_right(images, number, embedded, owner)
        items = [f"{key}#{i}" for key, count in zip(keys, texts_of, strict=True) for i in range(count)]
        units = [keys[i] for i in owner.tolist()]
        ways = (
            ("image", by_text, items, units, image_notes, len(keys)),
            ("text", by_image, keys, None, text_notes, len(texts)),
        )
        for k, (way, ranks, names, of, noted, num) in product(self.recall_at, ways):
            if k <= num:
                yield Measurement(
                    f"{way}_recall_at_{k}",
                    ranks.hits(k),
                    names,
                    k / num if way == "image" else _chance_of_any(texts_of, num, k),
                    units=of,
                    num_ties=ranks.num_ties(k),
                    notes=noted,
                    answers={"rank": ranks.rank},
                )


def _captions_of(parts: Mapping[str, bytes], where: str) -> list[str]:
    captions = decoded(parts.get("txt", b""), where).splitlines()
    if not captions or not all(caption.strip() for caption in captions):
        raise DataError(
            "each picture needs captions (KEY.txt), one a line and none empty",
            where=where,
            value=captions,
            way_out="write captions for it, or leave the picture out",
        )
    return captions


def _num_shared(texts: Tensor, owner: Tensor) -> int:
    """Return how many distinct captions, as the model reads them, stand under more than one picture."""
    number = distinct_rows(texts)[1]
    of_picture = np.unique(torch.stack([number, owner], dim=1).numpy(), axis=0)[:, 0]
    return int((np.bincount(of_picture) > 1).sum())


def _chance_of_any(texts_of: NDArray[np.int64], num_texts: int, k: int) -> float:
    """Return the mean chance that k random texts hold one of a picture's own."""
    miss = {m: math.comb(num_texts - m, k) / math.comb(num_texts, k) for m in set(texts_of.tolist())}
    return float(np.mean([1 - miss[m] for m in texts_of.tolist()]))
