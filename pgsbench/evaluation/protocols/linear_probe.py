"""Linear probe: how much of the classes can be read off frozen image embeddings by a linear classifier?"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from pgsbench.data.evalset import check_name, count_split
from pgsbench.errors import DataError
from pgsbench.evaluation.embed import Encoder
from pgsbench.evaluation.protocols.base import Measurement, encode_split
from pgsbench.evaluation.protocols.zero_shot import (
    CLASSNAMES,
    class_metrics,
    class_of,
    odd_pictures,
    one_answer,
    read_classnames,
)
from pgsbench.evaluation.ranking import Ranks

#: Share of the training pictures that the L2 strength is chosen on.
HELD_OUT = 0.1

#: Share of test pictures among the training pictures above which it is said: a few are in many a set.
SHARED_ABOVE = 0.01

MAX_ITERATIONS = 1000  #: As CLIP's probes have (arXiv 2103.00020, appendix A.3).

#: Largest entry of the gradient, per sample, at which a fit has converged.
TOLERANCE = 1e-8

#: Logits held at a time.
CHUNK = 1 << 26

#: Steps of the grid of L2 strengths in one decade, and its decades.
STEPS_A_DECADE, LOWEST, HIGHEST = 8, -6, 6


@dataclass(frozen=True)
class LinearProbe:
    """CLIP's linear probe (Radford et al., 2021, arXiv 2103.00020, section 3.2 and appendix A.3).

    Multinomial logistic regression by L-BFGS, at most 1000 iterations, on frozen image features. CLIP's
    search chooses the L2 strength on a tenth of each class's training pictures, drawn with `seed`: by
    accuracy, of equals by cross-entropy. Then the classifier is fitted to all of them. Metrics as in
    clip_benchmark: ``lp_acc1``, ``lp_acc5``, ``lp_mean_per_class_recall``.

    Deviations: the features are the normalised image embeddings, as clip_benchmark's probe has by default and
    as all protocols here share them; CLIP takes those before the projection. A wrong class that ties with
    the right one counts as nearer.

    Attributes:
        l2: L2 strength; 0: chosen as said.
        seed: Decides the pictures that are drawn.
        train: Folder of the shards to train on.
        split: Folder of the shards to test on.
    """

    metrics: ClassVar[tuple[str, ...]] = ("lp_acc1", "lp_acc5", "lp_mean_per_class_recall")
    primary: ClassVar[str] = "lp_acc1"
    l2: float = 0.0
    seed: int = 0
    train: str = "train"
    split: str = "test"

    def __post_init__(self) -> None:
        for name in ("seed", "l2"):
            if not 0 <= getattr(self, name) < math.inf:
                raise ValueError(f"{name} must be a number from 0 on, not {getattr(self, name)!r}")
        check_name("train", self.train)
        check_name("split", self.split)
        if self.train == self.split:
            raise ValueError(f"train and split must not be the same folder, {self.split!r}")

    @property
    def requires(self) -> tuple[str, ...]:
        """Class names and the shards of both splits."""
        return (CLASSNAMES, f"{self.train}/nshards.txt", f"{self.split}/nshards.txt")

    def count_items(self, folder: Path) -> int:
        """Return the number of pictures to test on.

        Raises:
            DataError: A shard of either split is missing or unreadable.
        """
        count_split(folder, self.train)
        return count_split(folder, self.split)

    def measure(self, folder: Path, encode: Encoder) -> Iterator[Measurement]:
        """Yield ``lp_acc1``, ``lp_acc5`` (from 5 classes on) and ``lp_mean_per_class_recall``.

        Raises:
            DataError: A label is no class, a split is empty, or both splits are one folder.
        """
        if (folder / self.train).resolve() == (folder / self.split).resolve():
            raise DataError("both splits are the same folder", where=str(folder), value=self.split)
        classnames = read_classnames(folder)
        num_classes = len(classnames)
        class_in = partial(class_of, num_classes)
        _, trained_on, train = encode_split(encode, folder, self.train, class_in, is_test=False)
        keys, asked, images = encode_split(encode, folder, self.split, class_in)
        train_labels, labels = torch.tensor(trained_on), torch.tensor(asked)
        features, targets = train.to(encode.device), train_labels.to(encode.device)
        l2 = self.l2 or self._choose_l2(features, targets, num_classes, where=folder / self.train)
        classifier = fit(features, targets, num_classes, l2)
        logits = classifier.logits(images.to(encode.device)).cpu()
        ranks = ranks_of(logits, labels)
        details = f"L2 strength {l2:.3g}, {len(train_labels):,} training pictures"
        notes = (
            *odd_pictures(images, asked),
            *one_answer(logits.argmax(dim=1), asked, classnames),
            *_shared(images, train),
            *_without(train_labels, num_classes, "classes have no training picture"),
            *_without(labels, num_classes, "classes have no picture"),
        )
        yield from class_metrics("lp_", ranks, keys, labels, num_classes, notes=notes, details=details)

    def _choose_l2(self, features: Tensor, labels: Tensor, num_classes: int, *, where: Path) -> float:
        chosen, held_out = self._draw(labels.cpu())
        if not len(held_out):
            rule = "no training pictures are left to choose the L2 strength on"
            raise DataError(rule, where=str(where), way_out="set `l2`")
        last: Linear | None = None

        def quality(l2: float) -> tuple[float, ...]:
            nonlocal last
            last = fit(features[chosen], labels[chosen], num_classes, l2, start=last)
            logits, right = last.logits(features[held_out]), labels[held_out]
            accuracy = ranks_of(logits, right).hits(1).mean()
            return float(accuracy), -float(
                F.cross_entropy(logits, right)
            )  # few pictures often tie in accuracy

        return search_l2(quality)

    def _draw(self, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Return the rows to train on and those to choose the L2 strength on, class by class."""
        generator = torch.Generator().manual_seed(self.seed)
        chosen, held_out = [], []
        for number in sorted(set(labels.tolist())):
            rows = (labels == number).nonzero()[:, 0]
            rows = rows[torch.randperm(len(rows), generator=generator)]
            num_held_out = round(HELD_OUT * len(rows)) or int(len(rows) > 1)
            held_out.append(rows[:num_held_out])
            chosen.append(rows[num_held_out:])
        return torch.cat(chosen), torch.cat(held_out)


def _shared(test: Tensor, train: Tensor) -> tuple[str, ...]:
    """Note test pictures that are training pictures: as each is encoded once, they share embeddings."""
    rows = [row.tobytes() for row in test.numpy()]
    wanted = set(rows)
    found = {row for row in (row.tobytes() for row in train.numpy()) if row in wanted}
    shared = sum(row in found for row in rows)
    if shared <= SHARED_ABOVE * len(test):
        return ()
    return (f"{shared:,} of {len(test):,} test pictures are training pictures, too",)


def _without(labels: Tensor, num_classes: int, what: str) -> tuple[str, ...]:
    """Note classes that no label names."""
    absent = num_classes - len(set(labels.tolist()))
    return (f"{absent} of {num_classes} {what}",) if absent else ()


@dataclass(frozen=True)
class Linear:
    """A linear classifier.

    Attributes:
        weight: (classes, d) float64.
        bias: (classes,) float64.
    """

    weight: Tensor
    bias: Tensor

    def logits(self, features: Tensor) -> Tensor:
        """Return (n, classes) float64 for (n, d) features."""
        return features.double() @ self.weight.T + self.bias


def ranks_of(logits: Tensor, labels: Tensor) -> Ranks:
    """Return where the right class of each sample ranks by (n, classes) logits; NaN is below nothing."""
    right = logits.gather(1, labels[:, None])
    last = (~(logits < right)).sum(dim=1) - 1  # the right one is not below itself
    return Ranks(last, (logits > right).sum(dim=1), logits.argmax(dim=1))


def fit(
    features: Tensor, labels: Tensor, num_classes: int, l2: float, *, start: Linear | None = None
) -> Linear:
    """Return the minimum of ``sum of cross-entropies + l2 / 2 * |weight|^2``; the bias is free.

    scikit-learn's ``LogisticRegression`` with ``C = 1 / l2`` has the same minimum. Double precision: at the
    strongest penalties classes differ by logits of 1e-6, at the weakest the minimum is flat.

    Args:
        features: (n, d), on the device to compute on.
        labels: (n,) class numbers.
        num_classes: Number of classes.
        l2: Strength of the penalty, larger than 0.
        start: Where to begin; there is only one minimum.
    """
    features = features.double()
    n, d = features.shape
    weight = features.new_zeros(num_classes, d) if start is None else start.weight.clone()
    bias = features.new_zeros(num_classes) if start is None else start.bias.clone()
    weight.requires_grad_()
    bias.requires_grad_()
    optimizer = torch.optim.LBFGS(
        [weight, bias],
        max_iter=MAX_ITERATIONS,
        tolerance_grad=TOLERANCE,
        tolerance_change=1e-14,
        line_search_fn="strong_wolfe",
    )
    rows = max(1, CHUNK // num_classes)

    def objective() -> Tensor:
        optimizer.zero_grad()
        total = l2 / (2 * n) * weight.square().sum()
        total.backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
        value = total.detach()
        for at in range(0, n, rows):  # gradients add up: the logits of all samples never exist at once
            logits = F.linear(features[at : at + rows], weight, bias)
            loss = F.cross_entropy(logits, labels[at : at + rows], reduction="sum") / n
            loss.backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
            value = value + loss.detach()
        return value

    optimizer.step(objective)  # type: ignore[no-untyped-call]  # torch leaves it untyped
    return Linear(weight.detach(), bias.detach())


def search_l2(quality: Callable[[float], tuple[float, ...]]) -> float:
    """Return the best L2 strength of a grid from 1e-6 to 1e6, eight steps a decade.

    CLIP's search (arXiv 2103.00020, appendix A.3): every second decade first, then the interval around the
    peak is halved until it is one step wide. Of equals the strongest penalty wins.

    Args:
        quality: From an L2 strength to how well a classifier does on held-out samples; asked once for each.
    """
    known: dict[int, tuple[float, ...]] = {}

    def look(steps: list[int]) -> int:
        for step in steps:
            if step not in known:
                known[step] = quality(10.0 ** (step / STEPS_A_DECADE))
        return max(steps, key=lambda step: (known[step], step))

    low, high = LOWEST * STEPS_A_DECADE, HIGHEST * STEPS_A_DECADE
    width = 2 * STEPS_A_DECADE
    peak = look(list(range(low, high + 1, width)))
    while width > 1:
        width //= 2
        peak = look([step for step in (peak - width, peak, peak + width) if low <= step <= high])
    return float(10.0 ** (peak / STEPS_A_DECADE))
