"""Zero-shot recognition of many classes in a picture: are the pictures that show a class ranked first?"""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from pgsbench.data.evalset import read_split
from pgsbench.data.tar import image_of
from pgsbench.errors import DataError
from pgsbench.evaluation.embed import Encoder, collapsed
from pgsbench.evaluation.pictures import NamedImage
from pgsbench.evaluation.protocols.base import Measurement
from pgsbench.evaluation.protocols.zero_shot import (
    CLASSNAMES,
    ZeroShot,
    class_embeddings,
    read_classnames,
    read_templates,
)


@dataclass(frozen=True)
class MultiLabel(ZeroShot):
    """Mean average precision over classes, clip_benchmark's ``mean_average_precision``.

    For each class the pictures are ranked by their similarity with it; its average precision is the mean,
    over the pictures that show it, of the share of such pictures among those ranked no lower. Deviations: a
    picture without the class that ties with one that has it ranks first; a class that no picture shows is
    left out of the mean, where clip_benchmark counts it as 0.

    Attributes:
        split: Folder of the shards; a sample is KEY.jpg|png|webp and KEY.npy, one number for each class,
            not 0 where the picture shows it.
    """

    primary: ClassVar[str] = "mean_average_precision"

    def measure(self, folder: Path, encode: Encoder) -> Iterator[Measurement]:
        """Yield ``mean_average_precision``; its items are a picture and a class that it shows.

        Raises:
            DataError: There are no pictures, or a label does not fit the class names.
        """
        classnames, templates = read_classnames(folder), read_templates(folder)
        keys: list[str] = []
        labels: list[NDArray[np.bool_]] = []
        images = encode.images(self._samples(folder, len(classnames), keys, labels))
        if not any(shown.any() for shown in labels):
            raise DataError("the split holds no pictures with labels", where=str(folder / self.split))
        classes = class_embeddings(encode, classnames, templates)
        shows = np.stack(labels)
        precision = precision_at_hits((images @ classes.T).numpy(), shows)
        picture, number = np.nonzero(shows)
        num_shown = shows.sum(axis=0)
        notes = collapsed(image=images, **{"class": classes})
        if empty := int((num_shown == 0).sum()):
            notes += (f"{empty} of {len(classnames)} classes have no picture",)
        yield Measurement(
            "mean_average_precision", precision[picture, number],
            [f"{keys[i]}#{k}" for i, k in zip(picture, number, strict=True)],
            float(num_shown[num_shown > 0].mean() / len(keys)), units=[keys[i] for i in picture],
            strata=number, notes=notes,
        )  # fmt: skip

    def _samples(
        self, folder: Path, num_classes: int, keys: list[str], labels: list[NDArray[np.bool_]]
    ) -> Iterator[NamedImage]:
        for key, parts in read_split(folder, self.split):
            where = f"{folder / self.split}: sample {key}"
            image = image_of(parts, where)
            labels.append(_label(parts.get("npy"), num_classes, where))
            keys.append(key)
            yield where, image


def precision_at_hits(scores: NDArray[np.float32], shows: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Return (n, c): of the pictures ranked no lower than this one for a class, the share that shows it.

    Args:
        scores: (n, c) similarity of n pictures with c classes.
        shows: (n, c) whether a picture shows a class.
    """
    precision = np.empty(scores.shape)
    ranks = np.arange(1, len(scores) + 1)
    for k in range(scores.shape[1]):
        order = np.lexsort((shows[:, k], -scores[:, k]))  # of equals, those without the class come first
        precision[order, k] = shows[order, k].cumsum() / ranks
    return precision


def _label(content: bytes | None, num_classes: int, where: str) -> NDArray[np.bool_]:
    if content is None:
        raise DataError("a sample needs its classes (KEY.npy)", where=where)
    try:
        label = np.load(io.BytesIO(content), allow_pickle=False)
    except (ValueError, EOFError) as error:
        raise DataError(f"not an array: {error}", where=where) from error
    if label.shape != (num_classes,):
        raise DataError(
            f"must hold one number for each of the {num_classes} classes in {CLASSNAMES}", where=where,
            value=label.shape, way_out="labels and class names belong to different sets",
        )  # fmt: skip
    shown: NDArray[np.bool_] = label != 0
    return shown
