"""How much of the variance of a score each searched parameter explains, off a grid.

On a grid the report splits up the variance exactly (`pgsbench.reporting.effects`).
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import optuna
from optuna.distributions import BaseDistribution

from pgsbench.records.study_record import Importances

#: Fewer trials than this say nothing.
MIN_TRIALS = 10


@dataclass(frozen=True)
class ScoredPoint:
    """A point of a search with the score of each of its seeds.

    Attributes:
        params: Parameter -> value; the arm is one of them where several are searched.
        values: One score a seed.
    """

    params: Mapping[str, Any]
    values: Sequence[float]


def importances(
    points: Sequence[ScoredPoint], distributions: Mapping[str, BaseDistribution]
) -> Importances | None:
    """Return how much of the variance each parameter explains, or None where that cannot be told.

    By fANOVA (Hutter et al., ICML 2014), from `MIN_TRIALS` points on.
    """
    values = {float(value) for point in points for value in point.values}
    if len(points) < MIN_TRIALS or len(values) < 2 or not all(map(math.isfinite, values)):
        return None
    shares = _fanova(points, distributions)
    num_seeds = min(len(point.values) for point in points)
    return Importances(len(points), num_seeds, shares) if shares else None


def _fanova(points: Sequence[ScoredPoint], distributions: Mapping[str, BaseDistribution]) -> dict[str, float]:
    study = optuna.create_study()
    for point in points:
        study.add_trial(
            optuna.trial.create_trial(
                params=dict(point.params),
                distributions={name: distributions[name] for name in point.params},
                value=float(np.mean(point.values)),
            )
        )
    evaluator = optuna.importance.FanovaImportanceEvaluator(seed=0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return dict(optuna.importance.get_param_importances(study, evaluator=evaluator))
        except (ValueError, RuntimeError):  # a parameter without variance
            return {}
