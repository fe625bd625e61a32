"""Zero-shot classification: which class's prompts is a picture closest to?"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from pgsbench.data.evalset import check_name, count_split, read_images, read_lines, read_text, whole_number
from pgsbench.errors import DataError
from pgsbench.evaluation.embed import Encoder, NamedImage, collapsed
from pgsbench.evaluation.protocols.base import Measurement, Shown
from pgsbench.evaluation.ranking import distinct_rows, num_repeated, ranks_of_right

CLASSNAMES = "classnames.txt"
TEMPLATES = "zeroshot_classification_templates.txt"

#: Share of the pictures above which repeated ones are said.
REPEATED_ABOVE = 0.01


@dataclass(frozen=True)
class ZeroShot:
    """Accuracy of the class whose prompt embeddings, averaged over templates, are nearest.

    The metrics are clip_benchmark's: ``acc1``, ``acc5`` (from 5 classes on) and
    ``mean_per_class_recall``, the mean over the classes that have pictures. Deviation: a wrong class that
    ties with the right one counts as nearer. Each item's file has the class that was ``predicted``, the
    nearest one counted from 0, and the ``rank`` of the true class, counted from 1.

    Attributes:
        split: Folder of the shards.
    """

    metrics: ClassVar[tuple[str, ...]] = ("acc1", "acc5", "mean_per_class_recall")
    primary: ClassVar[str] = "acc1"
    split: str = "test"

    def __post_init__(self) -> None:
        check_name("split", self.split)

    @property
    def requires(self) -> tuple[str, ...]:
        """Class names, templates and the shards of the split."""
        return (CLASSNAMES, TEMPLATES, f"{self.split}/nshards.txt")

    def count_items(self, folder: Path) -> int:
        """Return the number of pictures."""
        return count_split(folder, self.split)

    def show(self, folder: Path, items: Collection[str]) -> dict[str, Shown]:
        """Return pictures with the names of their classes."""
        names = tuple(read_classnames(folder))
        return {
            key: Shown(image, names[_label(parts.get("cls"), len(names), where)], names)
            for key, where, image, parts in read_images(folder, self.split, keys=items)
        }

    def measure(self, folder: Path, encode: Encoder) -> Iterator[Measurement]:
        """Yield ``acc1``, ``acc5`` and ``mean_per_class_recall``.

        Raises:
            DataError: A label is no class, a class has no name, a template has no ``{c}``.
        """
        classnames, templates = read_classnames(folder), read_templates(folder)
        classes = class_embeddings(encode, classnames, templates)
        keys: list[str] = []
        labels: list[int] = []
        images = encode.images(
            encode.first(labelled_pictures(folder, self.split, len(classnames), keys, labels))
        )
        if not keys:
            raise DataError("the split holds no pictures", where=str(folder / self.split))
        target = torch.tensor(labels)
        ranks = ranks_of_right(images, target, classes, torch.arange(len(classes)))
        notes = (*_notes(classnames, labels, classes), *odd_pictures(images, labels))
        notes += one_answer(ranks.nearest, labels, classnames)
        answers = {"predicted": ranks.nearest.numpy(), "rank": ranks.rank}
        for k in (1, 5):
            if k <= len(classnames):
                chance, ties = k / len(classnames), ranks.num_ties(k)
                yield Measurement(
                    f"acc{k}", ranks.hits(k), keys, chance, num_ties=ties, notes=notes, answers=answers
                )
        yield Measurement(
            "mean_per_class_recall",
            ranks.hits(1),
            keys,
            1 / len(classnames),
            strata=target.numpy(),
            num_ties=ranks.num_ties(1),
            notes=notes,
            answers=answers,
        )


def labelled_pictures(
    folder: Path, split: str, num_classes: int, keys: list[str], labels: list[int]
) -> Iterator[NamedImage]:
    """Yield the pictures of a split, and append their keys and class numbers to the lists meanwhile.

    Raises:
        DataError: A sample has no picture, or a label that is no class.
    """
    for key, where, image, parts in read_images(folder, split):
        labels.append(_label(parts.get("cls"), num_classes, where))
        keys.append(key)
        yield where, image


def class_embeddings(encode: Encoder, classnames: Sequence[str], templates: Sequence[str]) -> Tensor:
    """Return (classes, d): the normalised mean of each class's normalised prompt embeddings."""
    prompts = [template.format(c=name) for name in classnames for template in templates]
    embeddings = encode.texts(prompts).view(len(classnames), len(templates), -1)
    return F.normalize(embeddings.mean(dim=1), dim=-1)


def _label(content: bytes | None, num_classes: int, where: str) -> int:
    if content is None:
        raise DataError("a sample needs its class (KEY.cls)", where=where)
    try:
        label = whole_number(content)
    except ValueError:
        raise DataError("a class is a number", where=where, value=content[:40]) from None
    if not 0 <= label < num_classes:
        raise DataError(
            f"the class must be one of the {num_classes} in {CLASSNAMES}, counted from 0",
            where=where,
            value=label,
            way_out="labels and class names belong to different sets",
        )
    return label


def read_classnames(folder: Path) -> list[str]:
    """Return the names of a set's classes in order.

    Raises:
        DataError: There are fewer than two, or one is empty.
    """
    names = [line.strip() for line in read_text(folder / CLASSNAMES).splitlines()]
    while names and not names[-1]:
        names.pop()
    if len(names) < 2 or not all(names):
        empty = next((f":{i}" for i, name in enumerate(names, start=1) if not name), "")
        # Leaving an empty line out would shift every class behind it.
        raise DataError("needs at least two classes, one name a line", where=f"{folder / CLASSNAMES}{empty}")
    return names


def read_templates(folder: Path) -> list[str]:
    """Return the prompt templates of a set.

    Raises:
        DataError: There are none, or one does not hold ``{c}`` alone.
    """
    templates = [line.strip() for line in read_lines(folder / TEMPLATES)]
    for template in templates or [""]:
        try:
            is_usable = "{c}" in template and bool(template.format(c="x"))
        except (ValueError, LookupError, AttributeError):  # other braces
            is_usable = False
        if not is_usable:
            rule = "a template holds {c} and no other braces"
            raise DataError(rule, where=str(folder / TEMPLATES), value=template)
    return templates


def odd_pictures(images: Tensor, labels: Sequence[int]) -> tuple[str, ...]:
    """Note pictures that are all alike, there more than once, or under more than one class.

    Equal embeddings are equal pictures. A few are in many a public set, so up to `REPEATED_ABOVE` of the
    pictures go without a note.

    Args:
        images: (n, d) embeddings.
        labels: n class numbers.
    """
    notes = collapsed(image=images)
    if notes:
        return notes
    row = distinct_rows(images)[1].tolist()
    classes_of: dict[int, set[int]] = {}
    for number, label in zip(row, labels, strict=True):
        classes_of.setdefault(number, set()).add(label)
    repeated, torn = len(row) - len(classes_of), sum(len(classes_of[number]) > 1 for number in row)
    if repeated > REPEATED_ABOVE * len(row):
        notes += (f"{repeated:,} of {len(row):,} pictures repeat an earlier one",)
    if torn > REPEATED_ABOVE * len(row):
        notes += (f"{torn:,} of {len(row):,} pictures stand under more than one class",)
    return notes


def one_answer(answers: Tensor, labels: Sequence[int], classnames: Sequence[str]) -> tuple[str, ...]:
    """Note a model that gives every picture of a set of several classes the same class.

    Args:
        answers: (n,) class number that the model gives each picture.
        labels: n right ones.
        classnames: Names of the classes.
    """
    if len(set(labels)) < 2 or bool((answers != answers[0]).any()):
        return ()
    return (f"every picture gets the same class, {classnames[int(answers[0])]!r}",)


def _notes(classnames: list[str], labels: list[int], classes: Tensor) -> tuple[str, ...]:
    notes = collapsed(**{"class": classes})
    if empty := len(classnames) - len(set(labels)):
        notes += (f"{empty} of {len(classnames)} classes have no picture",)
    if repeated := num_repeated(classes):
        notes += (f"{repeated} classes are to the model the same as an earlier one and tie with it",)
    return notes
