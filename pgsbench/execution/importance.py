"""How much of the variance of a score each searched parameter explains."""

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

#: Shares beside those of the parameters.
TOGETHER, SEEDS = "their interplay", "seeds"
#: Fewer trials than this off a grid say nothing.
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

    On a complete grid by analysis of variance: main effects, their interplay, and, where every point has
    several seeds, what seeds do. One parameter with one seed explains everything by construction, so nothing
    is said of it. Elsewhere by fANOVA (Hutter et al., ICML 2014), from `MIN_TRIALS` points on.
    """
    values = {float(value) for point in points for value in point.values}
    if len(values) < 2 or not all(map(math.isfinite, values)):
        return None
    num_seeds = min(len(point.values) for point in points)
    if _is_grid(points):
        if len(_levels(points)) == num_seeds == 1:
            return None
        return Importances("analysis of variance", len(points), num_seeds, _analysis_of_variance(points))
    shares = _fanova(points, distributions) if len(points) >= MIN_TRIALS else {}
    return Importances("fANOVA", len(points), num_seeds, shares) if shares else None


def _is_grid(points: Sequence[ScoredPoint]) -> bool:
    levels = _levels(points)
    cells = {tuple(str(point.params[name]) for name in levels) for point in points}
    full = math.prod(len(found) for found in levels.values())
    return len(cells) == len(points) == full and len({len(point.values) for point in points}) == 1


def _levels(points: Sequence[ScoredPoint]) -> dict[str, list[str]]:
    """Return each parameter that has several values, with them."""
    names = dict.fromkeys(name for point in points for name in point.params)
    found = {name: list(dict.fromkeys(str(point.params[name]) for point in points)) for name in names}
    return {name: values for name, values in found.items() if len(values) > 1}


def _analysis_of_variance(points: Sequence[ScoredPoint]) -> dict[str, float]:
    cells = np.array([np.mean(point.values) for point in points])
    within = float(
        sum(np.sum((np.asarray(point.values) - mean) ** 2) for point, mean in zip(points, cells, strict=True))
    )
    num_seeds = len(points[0].values)
    between = num_seeds * float(np.sum((cells - cells.mean()) ** 2))
    squares = {}
    for name, levels in _levels(points).items():
        of_level = [cells[[str(point.params[name]) == level for point in points]] for level in levels]
        squares[name] = num_seeds * float(
            sum(len(found) * (found.mean() - cells.mean()) ** 2 for found in of_level)
        )
    ranked = dict(sorted(squares.items(), key=lambda item: -item[1]))
    if len(ranked) > 1:
        ranked[TOGETHER] = max(0.0, between - sum(squares.values()))
    if num_seeds > 1:
        ranked[SEEDS] = within
    return {name: square / (between + within) for name, square in ranked.items()}


def _fanova(points: Sequence[ScoredPoint], distributions: Mapping[str, BaseDistribution]) -> dict[str, float]:
    study = optuna.create_study()
    for point in points:
        study.add_trial(
            optuna.trial.create_trial(
                params=dict(point.params),
                distributions=dict(distributions),
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
