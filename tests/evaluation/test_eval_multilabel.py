"""Pseudo-values of the mean average precision against the jackknife as it is defined."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.metrics import average_precision_score

from pgsbench.evaluation.protocols.base import Measurement
from pgsbench.evaluation.protocols.multilabel import pseudo_values
from pgsbench.evaluation.scoring import interval


def naive_precision(scores: NDArray[np.float32], shows: NDArray[np.bool_], without: int | None) -> float:
    """Average precision of one class; of equals, pictures without it rank first."""
    order = sorted(range(len(scores)), key=lambda i: (-scores[i], shows[i]))
    hits = [shows[i] for i in order if i != without]
    return float(np.mean([sum(hits[: i + 1]) / (i + 1) for i, hit in enumerate(hits) if hit]))


def naive_pseudo_values(scores: NDArray[np.float32], shows: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Tukey's pseudo-values, one ranking after the other, centred so that their mean is the score."""
    n, classes = len(scores), [k for k in range(shows.shape[1]) if shows[:, k].any()]

    def score(without: int | None) -> float:
        kept = [
            None if without is not None and shows[without, k] and shows[:, k].sum() == 1 else without
            for k in classes
        ]
        return float(
            np.mean(
                [naive_precision(scores[:, k], shows[:, k], i) for k, i in zip(classes, kept, strict=True)]
            )
        )

    left_out = np.array([score(i) for i in range(n)])
    return score(None) + (n - 1) * (left_out.mean() - left_out)


@pytest.mark.parametrize("levels", [5, 1000])  # with many ties, and with few
@pytest.mark.parametrize("n", [1, 2, 40])
def test_pseudo_values_are_the_jackknifes(n: int, levels: int) -> None:
    rng = np.random.default_rng(levels + n)
    scores = rng.integers(levels, size=(n, 5)).astype(np.float32)
    shows = rng.random((n, 5)) < [0.0, 0.1, 0.3, 0.5, 1.0]
    shows[:, 1] = np.arange(n) == n // 2  # one picture alone
    found = pseudo_values(scores, shows)
    np.testing.assert_allclose(found, naive_pseudo_values(scores, shows), atol=1e-9)


def test_their_mean_is_the_mean_average_precision() -> None:
    rng = np.random.default_rng(0)
    scores, shows = rng.normal(size=(3000, 6)).astype(np.float32), rng.random((3000, 6)) < 0.1
    expected = average_precision_score(shows, scores, average="macro")
    found = pseudo_values(scores, shows)
    assert found.mean() == pytest.approx(expected, abs=1e-9)
    assert found.astype(np.float32).astype(float).mean() == pytest.approx(expected, abs=1e-6)  # as on disk
    assert found.max() > 1 > 0 > found.min()


def test_a_perfect_ranking_is_as_sure_as_its_pictures_are_many() -> None:
    shows = np.arange(200)[:, None] % np.array([2, 7]) == 0
    values = pseudo_values(shows.astype(np.float32), shows)
    np.testing.assert_allclose(values, 1.0, atol=1e-9)
    low, high = interval(Measurement("m", values, [str(i) for i in range(200)], 0.3))
    assert high == pytest.approx(1.0)
    assert low == pytest.approx(200 / (200 + 1.96**2), abs=1e-4)  # Wilson's for 200 of 200
