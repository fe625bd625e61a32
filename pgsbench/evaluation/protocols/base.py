"""What a protocol is, and what it hands back."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from pgsbench.data.evalset import read_images
from pgsbench.data.tar import EncodedImage
from pgsbench.errors import DataError, EvaluationError
from pgsbench.evaluation.embed import Encoder, NamedImage

Label = TypeVar("Label")

#: What rounding may add to a mean of shares.
SHARE_SLACK = 1e-6


@dataclass(frozen=True)
class Measurement:
    """One metric of one data set: the value of every test item, from which all else follows.

    Attributes:
        metric: MLflow-safe name, for example ``"acc1"``.
        correct: (n,) outcome of each item in [0, 1], usually 0 or 1. A metric that is no mean over items
            has a jackknife's pseudo-values (Tukey, 1958), which may lie outside.
        items: (n,) what each outcome belongs to, unique.
        chance: What guessing gives.
        units: (n,) the draw that an item belongs to, usually its image: five captions of one image are one
            draw, not five. Intervals are computed over units. None: every item is a draw of its own.
        strata: (n,) class of each item where the metric is the mean over classes of the mean within each
            class; None: the plain mean over items.
        num_ties: Items that are, or may be, wrong only because of a tie.
        notes: What is odd about the number: a score with notes is marked and may not compare.
        details: More about the number, such as a penalty that was chosen; marks nothing.
        answers: More about each item by name, (n,) each, for its file: ``predicted``, ``rank``.

    Raises:
        EvaluationError: No items, items that repeat, lengths that differ, values that are not finite, or a
            mean that is no share.
    """

    metric: str
    correct: NDArray[np.float64]
    items: Sequence[str]
    chance: float
    units: Sequence[str] | None = None
    strata: NDArray[np.int64] | None = None
    num_ties: int = 0
    notes: tuple[str, ...] = ()
    details: str = ""
    answers: Mapping[str, NDArray[Any]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        parts = (self.correct, self.items, self.units, self.strata, *self.answers.values())
        lengths = {len(part) for part in parts if part is not None}
        problems = {
            "there are no test items": not len(self.items),
            "outcomes, items, units, strata and answers differ in length": len(lengths) > 1,
            "two test items have the same name": len(set(self.items)) < len(self.items),
            "outcomes are not finite": not np.isfinite(self.correct).all(),
        }
        if problem := next((rule for rule, is_so in problems.items() if is_so), ""):
            raise EvaluationError(problem, where=self.metric)
        if not -SHARE_SLACK <= self.value <= 1 + SHARE_SLACK:
            raise EvaluationError("a score must be a share in [0, 1]", where=self.metric, value=self.value)

    @property
    def values(self) -> NDArray[np.float64]:
        """(n,) `correct`, weighted so that its mean is the metric's value."""
        if self.strata is None:
            return self.correct
        classes, index, counts = np.unique(self.strata, return_inverse=True, return_counts=True)
        weights = len(self.correct) / (len(classes) * counts)
        weighted: NDArray[np.float64] = self.correct * weights[index]
        return weighted

    @property
    def value(self) -> float:
        """The metric's value."""
        return float(self.values.mean())


@dataclass(frozen=True)
class Shown:
    """A test item for people.

    Attributes:
        picture: Its picture.
        right: The right answer in words.
        choices: All answers, where there are few: what an item's ``predicted`` counts.
    """

    picture: EncodedImage
    right: str
    choices: tuple[str, ...] = ()


def encode_split(
    encode: Encoder,
    folder: Path,
    split: str,
    label_of: Callable[[Mapping[str, bytes], str], Label],
    *,
    is_test: bool = True,
) -> tuple[list[str], list[Label], Tensor]:
    """Return n keys, n labels and the (n, d) embeddings of the pictures of a split.

    Args:
        encode: The encoder.
        folder: The data set.
        split: Folder of the shards.
        label_of: From a sample's other members, and its place for messages, to its label.
        is_test: Its pictures are test items, of which only the first may be asked for.

    Raises:
        DataError: There are no pictures, or a sample lacks its own, or what `label_of` raises.
    """
    keys: list[str] = []
    labels: list[Label] = []

    def pictures() -> Iterator[NamedImage]:
        for key, where, image, parts in read_images(folder, split):
            labels.append(label_of(parts, where))
            keys.append(key)
            yield where, image

    images = encode.images(encode.first(pictures()) if is_test else pictures())
    if not keys:
        raise DataError("the split holds no pictures", where=str(folder / split))
    return keys, labels, images


class EvaluationProtocol(Protocol):
    """A protocol: a frozen dataclass whose fields can be set by name in a suite's task.

    Three more members are optional. ``count_items(folder) -> int``, the number of test items without looking
    at them, gives counts in ``pgsbench data status``. ``metrics``, the names of all that may be measured,
    lets a suite with a misspelt metric fail when it is read and not after its task is encoded. ``show(folder,
    items) -> dict[str, Shown]``, test items for people, lets reports show which of them one arm gets and
    another loses.
    """

    primary: ClassVar[str]  #: The metric that represents a task unless the suite names another.

    @property
    def requires(self) -> tuple[str, ...]:
        """Files and folders, relative to the data set's folder, without which nothing can be measured."""

    def measure(self, folder: Path, encode: Encoder) -> Iterator[Measurement]:
        """Test the encoder's model on the data set in `folder` and yield the metrics.

        Raises:
            DataError: The data set is damaged or contradicts itself.
            EvaluationError: The embeddings cannot be scored.
        """
