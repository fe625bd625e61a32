"""Compositionality: does a picture prefer its caption to one that differs in a single respect?"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np

from pgsbench.data.evalset import (
    PAIRS_IMAGE_FOLDER,
    Pair,
    check_name,
    check_pictures,
    read_pairs,
    read_pictures,
)
from pgsbench.errors import DataError
from pgsbench.evaluation.embed import TIE_BELOW, Encoder, collapsed
from pgsbench.evaluation.protocols.base import Measurement, Shown

#: Parts of the cross-validation, and pictures below which nothing is said.
FOLDS, MIN_PICTURES = 5, 20

#: Margins that differ from 0 by less are the same words in both captions: a coin is thrown.
BLIND_TIE_BELOW = 1e-9


@dataclass(frozen=True)
class Compositional:
    """SugarCrepe (Hsieh et al., 2023): the share of pictures that are closer to the right caption.

    ``acc`` is clip_benchmark's ``acc`` (equal to its ``text_acc``) of image_caption_selection. Deviation:
    a tie is wrong, and what only float32's rounding tells apart (`TIE_BELOW`) is one. There it is right or
    up to the rounding, so a model that encodes everything alike, or two captions that are equal after
    truncation, score 1; here 0.

    ``details`` says what a guesser scores that sees the captions only (`blind_accuracy`): a model must beat
    that, and not just chance, to have looked at the pictures.

    Attributes:
        subset: Name of the JSON file without its ending, for example ``"swap_att"``.
    """

    metrics: ClassVar[tuple[str, ...]] = ("acc",)
    primary: ClassVar[str] = "acc"
    subset: str = ""

    def __post_init__(self) -> None:
        if not self.subset:
            raise ValueError("subset must name one of the set's JSON files, for example swap_att")
        check_name("subset", self.subset)

    @property
    def requires(self) -> tuple[str, ...]:
        """The subset's pairs and the folder of pictures."""
        return (f"{self.subset}.json", PAIRS_IMAGE_FOLDER)

    def count_items(self, folder: Path) -> int:
        """Return the number of pairs whose picture is there.

        Raises:
            DataError: Pictures are missing.
        """
        pairs = read_pairs(folder, self.subset)
        self._check_pictures(folder, pairs)
        return len(pairs)

    def show(self, folder: Path, items: Collection[str]) -> dict[str, Shown]:
        """Return pictures with their right and wrong captions."""
        found = {}
        for number, pair in enumerate(read_pairs(folder, self.subset)):
            if (item := f"{pair.image_key}#{number}") in items:
                ((_, image),) = read_pictures(folder / PAIRS_IMAGE_FOLDER, [pair.image_key])
                found[item] = Shown(image, pair.caption, (pair.caption, pair.negative_caption))
        return found

    def measure(self, folder: Path, encode: Encoder) -> Iterator[Measurement]:
        """Yield ``acc``.

        Raises:
            DataError: There are no pairs, or pictures are missing.
        """
        pairs = list(encode.first(read_pairs(folder, self.subset)))
        if not pairs:
            raise DataError("the subset holds no pairs", where=str(folder / f"{self.subset}.json"))
        self._check_pictures(folder, pairs)
        number = {key: i for i, key in enumerate(dict.fromkeys(pair.image_key for pair in pairs))}
        pictures = encode.images(read_pictures(folder / PAIRS_IMAGE_FOLDER, number))
        images = pictures[[number[pair.image_key] for pair in pairs]]
        texts = encode.texts([text for pair in pairs for text in (pair.caption, pair.negative_caption)])
        right, wrong = texts[0::2], texts[1::2]
        # In double precision, so that what ties does not depend on the order of a sum.
        margin = (images.double() * (right.double() - wrong.double())).sum(dim=1).numpy()
        ties = int((np.abs(margin) < TIE_BELOW).sum())
        notes = collapsed(image=pictures, text=texts)
        if ties:
            notes += (f"{ties} of {len(pairs)} pairs tie and count as wrong",)
        captions = [pair.caption for pair in pairs], [pair.negative_caption for pair in pairs]
        blind = blind_accuracy(*captions, [pair.image_key for pair in pairs])
        yield Measurement(
            "acc",
            (margin >= TIE_BELOW).astype(np.float64),
            [f"{pair.image_key}#{i}" for i, pair in enumerate(pairs)],
            0.5,
            units=[pair.image_key for pair in pairs],
            num_ties=ties,
            notes=notes,
            details="" if blind is None else f"blind text-only baseline: {blind:.1%}",
        )

    def _check_pictures(self, folder: Path, pairs: Sequence[Pair]) -> None:
        names = (pair.image_key for pair in pairs)
        check_pictures(folder / PAIRS_IMAGE_FOLDER, names, folder / f"{self.subset}.json")


def blind_accuracy(right: Sequence[str], wrong: Sequence[str], pictures: Sequence[str]) -> float | None:
    """Return the share of pairs in which a guesser that sees texts only picks the right caption.

    Wrong captions that were made from templates often betray themselves by their words. The guesser is a
    logistic regression on the words and pairs of words that one caption has more often than the other. It
    learns from four fifths of the pictures and guesses on the last fifth, each fifth in turn. Where both
    captions look the same to it, the pair counts one half.

    Args:
        right: (n,) right captions.
        wrong: (n,) wrong captions.
        pictures: (n,) picture of each pair; pairs of one picture are never learned from and guessed on.

    Returns:
        The share, 0.5 where the texts say nothing; None: there are too few pictures to tell.
    """
    if len(set(pictures)) < MIN_PICTURES:
        return None
    from scipy.sparse import vstack  # a second: only where pairs are measured
    from sklearn.feature_extraction.text import CountVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import GroupKFold

    counted = CountVectorizer(ngram_range=(1, 2), token_pattern=r"\S+", dtype=np.float64)
    counts = counted.fit_transform([*right, *wrong])
    gap = counts[: len(right)] - counts[len(right) :]
    share = 0.0
    for known, asked in GroupKFold(FOLDS).split(gap, groups=np.asarray(pictures)):
        both_ways = vstack([gap[known], -gap[known]])
        answers = np.repeat([1, 0], len(known))
        guesser = LogisticRegression(fit_intercept=False, solver="liblinear").fit(both_ways, answers)
        margin = guesser.decision_function(gap[asked])
        share += float((margin > BLIND_TIE_BELOW).sum() + 0.5 * (np.abs(margin) <= BLIND_TIE_BELOW).sum())
    return share / len(right)
