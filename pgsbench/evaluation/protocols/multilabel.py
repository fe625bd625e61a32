"""Zero-shot recognition of many classes in a picture: are the pictures that show a class ranked first?"""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from pgsbench.data.evalset import read_images
from pgsbench.errors import DataError
from pgsbench.evaluation.embed import Encoder, NamedImage, collapsed
from pgsbench.evaluation.protocols.base import Measurement
from pgsbench.evaluation.protocols.zero_shot import (
    CLASSNAMES,
    ZeroShot,
    class_embeddings,
    read_classnames,
    read_templates,
)
from pgsbench.evaluation.ranking import distinct_rows


@dataclass(frozen=True)
class MultiLabel(ZeroShot):
    """Mean average precision over classes, clip_benchmark's ``mean_average_precision``.

    For each class the pictures are ranked by their similarity with it; its average precision is the mean,
    over the pictures that show it, of the share of such pictures among those ranked no lower. Deviations: a
    picture without the class that ties with one that has it ranks first (a note says how many pictures are
    there more than once, with other classes); a class that no picture shows is
    left out of the mean, where clip_benchmark counts it as 0.

    Attributes:
        split: Folder of the shards; a sample is KEY.jpg|png|webp and KEY.npy, one number for each class,
            not 0 where the picture shows it.
    """

    metrics: ClassVar[tuple[str, ...]] = ("mean_average_precision",)
    primary: ClassVar[str] = "mean_average_precision"

    def measure(self, folder: Path, encode: Encoder) -> Iterator[Measurement]:
        """Yield ``mean_average_precision``; its items are pictures, their values `pseudo_values`.

        Raises:
            DataError: There are no pictures, or a label does not fit the class names.
        """
        classnames, templates = read_classnames(folder), read_templates(folder)
        keys: list[str] = []
        labels: list[NDArray[np.bool_]] = []
        images = encode.images(encode.first(self._samples(folder, len(classnames), keys, labels)))
        if not any(shown.any() for shown in labels):
            raise DataError("the split holds no pictures with labels", where=str(folder / self.split))
        classes = class_embeddings(encode, classnames, templates)
        shows = np.stack(labels)
        num_shown = shows.sum(axis=0)
        notes = collapsed(image=images, **{"class": classes})
        if empty := int((num_shown == 0).sum()):
            notes += (f"{empty} of {len(classnames)} classes have no picture",)
        distinct, row = distinct_rows(images)
        if ties := _num_ties(row.numpy(), shows):
            notes += (f"{ties} pictures are the same as one with other classes and tie with it",)
        # Of distinct rows: a matrix product need not give equal ones equal similarities.
        values = pseudo_values((distinct @ classes.T)[row].numpy(), shows)
        chance = float(num_shown[num_shown > 0].mean() / len(keys))
        yield Measurement("mean_average_precision", values, keys, chance, num_ties=ties, notes=notes)

    def _samples(
        self, folder: Path, num_classes: int, keys: list[str], labels: list[NDArray[np.bool_]]
    ) -> Iterator[NamedImage]:
        for key, where, image, parts in read_images(folder, self.split):
            labels.append(_label(parts.get("npy"), num_classes, where))
            keys.append(key)
            yield where, image


def pseudo_values(scores: NDArray[np.float32], shows: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Return (n,) what each picture adds to the mean average precision, in the sense that their mean is it.

    A ranking moves as a whole when pictures change, so the precision at a hit, taken for a picture's value,
    hides most of what is uncertain. A jackknife's pseudo-values (Tukey, 1958) do not: the score, plus
    n - 1 times how much it falls below the mean of such scores where the picture is left out. They may lie
    far outside [0, 1], and are near what one value for each picture would have to be for intervals and
    paired tests of a plain mean to hold. A class that is left without a picture keeps its precision, so the
    doubt about a class that one picture shows is understated.

    Args:
        scores: (n, c) similarity of n pictures with c classes.
        shows: (n, c) whether a picture shows a class; one that none shows is left out of the mean.
    """
    n = len(scores)
    score, without = 0.0, np.zeros(n)
    shown = np.flatnonzero(shows.any(axis=0))
    for k in shown:
        order = np.lexsort((shows[:, k], -scores[:, k]))  # of equals, those without the class come first
        precision, left_out = _average_precision(shows[order, k])
        score += precision / len(shown)
        without[order] += left_out / len(shown)
    values: NDArray[np.float64] = score + (n - 1) * (without.mean() - without)
    return values


def _average_precision(shows: NDArray[np.bool_]) -> tuple[float, NDArray[np.float64]]:
    """Return the average precision of a ranking, and (n,) that of the same ranking without each place.

    scikit-learn's `average_precision_score` gives the first alone: the others would cost a call for each
    picture and class, and at ties it counts pictures of both kinds at once where here the wrong ones come
    first. Without ties both agree, which a test holds.

    Args:
        shows: (n,) whether the picture at a place shows the class, best place first; at least one does.
    """
    rank = np.flatnonzero(shows) + 1
    hit = np.arange(1, len(rank) + 1)
    whole = float((hit / rank).mean())
    # Hits above a place stay as they are. Those below move up by one, and if it was a hit, too, count one
    # less above themselves.
    moved, fewer = hit / np.maximum(rank - 1, 1), (hit - 1) / np.maximum(rank - 1, 1)
    num_above = shows.cumsum() - shows
    num_down_to = shows.cumsum()
    above = np.append(0.0, np.cumsum(hit / rank))[num_above]
    below = [hits.sum() - np.append(0.0, np.cumsum(hits))[num_down_to] for hits in (moved, fewer)]
    left_out = np.where(shows, (above + below[1]) / max(len(rank) - 1, 1), (above + below[0]) / len(rank))
    if len(rank) == 1:
        left_out[shows] = whole
    return whole, left_out


def _num_ties(row: NDArray[np.int64], shows: NDArray[np.bool_]) -> int:
    """Return how many of n pictures have a row (n,) that also stands for one that shows other classes."""
    first = np.unique(row, return_index=True)[1]  # rows are numbered from 0 on
    mixed = np.zeros(len(first), dtype=bool)
    mixed[row[(shows != shows[first[row]]).any(axis=1)]] = True
    return int(mixed[row].sum())


def _label(content: bytes | None, num_classes: int, where: str) -> NDArray[np.bool_]:
    if content is None:
        raise DataError("a sample needs its classes (KEY.npy)", where=where)
    try:
        label = np.load(io.BytesIO(content), allow_pickle=False)
    except (ValueError, EOFError) as error:
        raise DataError(f"not an array: {error}", where=where) from error
    if label.shape != (num_classes,):
        raise DataError(
            f"must hold one number for each of the {num_classes} classes in {CLASSNAMES}",
            where=where,
            value=label.shape,
            way_out="labels and class names belong to different sets",
        )
    if label.dtype.kind not in "biuf" or not np.isfinite(label).all():
        raise DataError(
            "classes must be finite numbers, not 0 where the picture shows the class",
            where=where,
            value=f"{label.dtype} {label[:3].tolist()}",
        )
    shown: NDArray[np.bool_] = label != 0
    return shown
