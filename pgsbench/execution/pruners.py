"""Whether a point looks bad beside the others: Optuna's pruners, asked in memory about what is known.

As with its samplers (`pgsbench.execution.adviser`), run directories say what is known, so any number of
processes judge alike, and no storage has to be there.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence

import optuna
from optuna.trial import TrialState, create_trial

from pgsbench.execution.probes import Probed

#: Points that are complete before the median ends any.
STARTUP = 4
#: Of the one-sided signed-rank test.
ALPHA = 0.05


def why_pruned(pruner: str, ours: Probed, others: Sequence[Probed]) -> str:
    """Return why a run is ended where it was measured last; empty: it is not.

    Args:
        pruner: `SearchConfig.pruner`.
        ours: The run.
        others: Runs of the same seed of other points.
    """
    said = f"it scores {100 * ours.values[-1]:.1f}"
    if pruner == "median":
        median = optuna.pruners.MedianPruner(n_startup_trials=STARTUP)
        is_bad = _should_prune(median, ours, others)
        return f"{said}, below the median of the complete points" if is_bad else ""
    if pruner == "halving":
        halving = optuna.pruners.SuccessiveHalvingPruner(min_resource=1, reduction_factor=2)
        is_bad = _should_prune(halving, ours, others)
        return f"{said}, not in the better half of the points that came as far" if is_bad else ""
    number = len(ours.values) - 1
    complete = [one for one in others if one.score is not None and len(one.values) > number]
    best = max(complete, key=lambda one: one.score or 0.0, default=None)
    if best is None or not _is_worse(ours.outcomes(number), best.outcomes(number)):
        return ""
    return f"{said}, worse on its test items than the best so far, {best.name}"


def _should_prune(pruner: optuna.pruners.BasePruner, ours: Probed, others: Sequence[Probed]) -> bool:
    study = _study(pruner)
    for other in others:
        trial, _ = _report(study, other.values)
        if other.score is not None:
            study.tell(trial, other.score)
    return _report(study, ours.values)[1]


def _report(study: optuna.Study, values: Sequence[float]) -> tuple[optuna.Trial, bool]:
    trial, is_bad = study.ask(), False
    for number, value in enumerate(values):
        trial.report(value, 2**number)  # halving asks at the steps 1, 2, 4, ...
        is_bad = trial.should_prune()
    return trial, is_bad


def _is_worse(ours: Mapping[str, float], best: Mapping[str, float]) -> bool:
    """Tell whether items that both have say that we are worse, by Wilcoxon's signed-rank test."""
    both = sorted(ours.keys() & best.keys())
    known = {number: best[item] for number, item in enumerate(both)}
    mine = {number: ours[item] for number, item in enumerate(both)}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of what Optuna calls experimental
        pruner = optuna.pruners.WilcoxonPruner(p_threshold=ALPHA)
        study = _study(pruner)
        study.add_trial(create_trial(value=1.0, intermediate_values=known))
        return bool(pruner.prune(study, create_trial(state=TrialState.RUNNING, intermediate_values=mine)))


def _study(pruner: optuna.pruners.BasePruner) -> optuna.Study:
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    sampler = optuna.samplers.RandomSampler(0)
    return optuna.create_study(direction="maximize", pruner=pruner, sampler=sampler)
