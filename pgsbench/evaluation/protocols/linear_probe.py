"""Linear probe: how much of the classes can be read off frozen image embeddings by a linear classifier?"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import ClassVar, Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from pgsbench.data.evalset import check_name, count_split
from pgsbench.errors import DataError, EvaluationError
from pgsbench.evaluation.embed import Encoder
from pgsbench.evaluation.logistic import Linear, fit, fit_by_adamw, ranks_of, search_l2
from pgsbench.evaluation.protocols.base import Measurement, encode_split
from pgsbench.evaluation.protocols.zero_shot import (
    CLASSNAMES,
    class_metrics,
    class_of,
    odd_pictures,
    one_answer,
    read_classnames,
)

#: Share of the training pictures that the L2 strength is chosen on.
HELD_OUT = 0.1

#: Few-shot: at most this many pictures a class to choose on, as CoOp has (Zhou et al., 2022).
HELD_OUT_SHOTS = 4

#: Share of test pictures among the training pictures above which it is said: a few are in many a set.
SHARED_ABOVE = 0.01


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
        solver: ``"lbfgs"``, or ``"adamw"``: clip_benchmark's probe at its command line's defaults without a
            validation split, that is ten epochs of AdamW on all training pictures and no search.
        shots: Training pictures a class, drawn with `seed`; 0: all. The L2 strength is then chosen on up to
            four further pictures a class, which are not trained on.
        l2: L2 strength; 0: chosen as said. For AdamW its weight decay; 0: none.
        seed: Decides the pictures that are drawn; for AdamW also the first weights and the order.
        train: Folder of the shards to train on.
        split: Folder of the shards to test on.
    """

    metrics: ClassVar[tuple[str, ...]] = ("lp_acc1", "lp_acc5", "lp_mean_per_class_recall")
    primary: ClassVar[str] = "lp_acc1"
    solver: Literal["lbfgs", "adamw"] = "lbfgs"
    shots: int = 0
    l2: float = 0.0
    seed: int = 0
    train: str = "train"
    split: str = "test"

    def __post_init__(self) -> None:
        for name in ("shots", "seed", "l2"):
            if not 0 <= getattr(self, name) < math.inf:
                raise ValueError(f"{name} must be a number from 0 on, not {getattr(self, name)!r}")
        check_name("train", self.train)
        check_name("split", self.split)
        if self.train == self.split:
            raise ValueError(f"train and split must not be the same folder, {self.split!r}")

    @property
    def _searches(self) -> bool:
        return self.solver == "lbfgs" and not self.l2

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
            DataError: A label is no class, a split is empty, both splits are one folder, or a class has fewer
                than `shots` pictures.
            EvaluationError: The fit diverged.
        """
        if (folder / self.train).resolve() == (folder / self.split).resolve():
            raise DataError("both splits are the same folder", where=str(folder), value=self.split)
        classnames = read_classnames(folder)
        num_classes = len(classnames)
        class_in = partial(class_of, num_classes)
        _, trained_on, train = encode_split(encode, folder, self.train, class_in, is_test=False)
        keys, asked, images = encode_split(encode, folder, self.split, class_in)
        train_labels, labels = torch.tensor(trained_on), torch.tensor(asked)
        chosen, held_out = self._draw(train_labels, folder / self.train)
        everything = chosen if self.shots else torch.cat([chosen, held_out]).sort().values
        features, targets = train.to(encode.device), train_labels.to(encode.device)
        if self.solver == "adamw":
            fitted_on = features[everything], targets[everything]
            classifier = fit_by_adamw(*fitted_on, num_classes, self.l2, seed=self.seed)
            how = f"AdamW with weight decay {self.l2:.3g}"
        else:
            l2 = self.l2 or _choose_l2(features, targets, num_classes, chosen, held_out)
            classifier = fit(features[everything], targets[everything], num_classes, l2)
            how = f"L2 strength {l2:.3g}"

        logits = classifier.logits(images.to(encode.device)).cpu()
        if not torch.isfinite(logits).all():
            raise EvaluationError(
                "the classifier has diverged: its logits are not finite",
                where="linear probe",
                value=how,
                way_out="choose a smaller `l2`, or leave it out",
            )
        ranks = ranks_of(logits, labels)
        details = f"{how}, {len(everything):,} training pictures"
        judged = train_labels[held_out] if self._searches else train_labels
        notes = (
            *odd_pictures(images, asked),
            *one_answer(logits.argmax(dim=1), asked, classnames),
            *_shared(images, train),
            *_without(train_labels, num_classes, "classes have no training picture"),
            *_without(labels, num_classes, "classes have no picture"),
            *_without(judged, len(set(trained_on)), "classes had no say in the L2 strength"),
        )
        yield from class_metrics("lp_", ranks, keys, labels, num_classes, notes=notes, details=details)

    def _draw(self, labels: Tensor, where: Path) -> tuple[Tensor, Tensor]:
        """Return the rows to train on and those to choose the L2 strength on, class by class."""
        generator = torch.Generator().manual_seed(self.seed)
        chosen, held_out = [], []
        for number in sorted(set(labels.tolist())):
            rows = (labels == number).nonzero()[:, 0]
            rows = rows[torch.randperm(len(rows), generator=generator)]
            if len(rows) < self.shots:
                raise DataError(
                    f"class {number} has fewer training pictures than `shots`",
                    where=str(where),
                    value=f"{len(rows)} < {self.shots}",
                    way_out="ask for fewer shots",
                )
            if self.shots:
                chosen.append(rows[: self.shots])
                held_out.append(rows[self.shots : self.shots + min(self.shots, HELD_OUT_SHOTS)])
            else:
                num_held_out = round(HELD_OUT * len(rows)) or int(len(rows) > 1)
                held_out.append(rows[:num_held_out])
                chosen.append(rows[num_held_out:])
        if self._searches and not sum(map(len, held_out)):
            raise DataError(
                "no training pictures are left to choose the L2 strength on",
                where=str(where),
                way_out="set `l2`, or ask for fewer shots",
            )
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


def _choose_l2(features: Tensor, labels: Tensor, num_classes: int, chosen: Tensor, held_out: Tensor) -> float:
    last: Linear | None = None

    def quality(l2: float) -> tuple[float, ...]:
        nonlocal last
        last = fit(features[chosen], labels[chosen], num_classes, l2, start=last)
        logits, right = last.logits(features[held_out]), labels[held_out]
        accuracy = ranks_of(logits, right).hits(1).mean()
        return float(accuracy), -float(F.cross_entropy(logits, right))  # few pictures often tie in accuracy

    return search_l2(quality)
