"""What can be guessed from captions alone: how often a guesser that sees no picture finds the right one."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

#: Parts of the cross-validation, and pictures below which nothing is said.
FOLDS, MIN_PICTURES = 5, 20

#: Margins that differ from 0 by less are the same words in both captions: a coin is thrown.
TIE_BELOW = 1e-9


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
        share += float((margin > TIE_BELOW).sum() + 0.5 * (np.abs(margin) <= TIE_BELOW).sum())
    return share / len(right)
