"""Which point to try next, and which parameters matter: Optuna, asked in memory about what is known.

The study's record and its run directories say what is known, so every process that asks knows the same, and
no storage has to be there. A point that is worked on counts as one that runs.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.samplers import BaseSampler
from optuna.trial import FrozenTrial, TrialState, create_trial

from pgsbench.records.study_record import Importances
from pgsbench.study.domains import Choices, Domain

#: A search ends after this number of draws in a row without a new point.
MAX_DRAWS = 50
#: Points that TPE draws at random before it has an opinion.
STARTUP = 5
#: Fewer points than this say nothing of what matters.
MIN_TRIALS = 10


@dataclass(frozen=True)
class KnownPoint:
    """A point of a search, as far as it is known.

    Attributes:
        params: Parameter -> value; the arm is one of them where several are searched.
        values: One a metric; empty while it is worked on.
        excess: Name of a constraint -> by how much it is broken; zero or less: it is kept.
        intermediate: Percent of the training -> what was measured there.
        is_pruned: Whether it was ended early.
    """

    params: Mapping[str, Any]
    values: Sequence[float] = ()
    excess: Mapping[str, float] = field(default_factory=dict)
    intermediate: Mapping[int, float] = field(default_factory=dict)
    is_pruned: bool = False


@dataclass(frozen=True)
class Adviser:
    """Draws new points.

    Attributes:
        sampler: ``random``, ``qmc``, ``tpe`` or ``gp``.
        distributions: Parameter -> what is drawn from.
        directions: ``maximize`` or ``minimize``, one a metric.
        seed: Decides what is drawn.
        is_active: Tells whether a parameter exists beside those that are chosen already.
    """

    sampler: str
    distributions: Mapping[str, BaseDistribution]
    directions: Sequence[str]
    seed: int
    is_active: Callable[[str, Mapping[str, Any]], bool] = lambda *_: True

    def draw(self, known: Sequence[KnownPoint], accept: Callable[[dict[str, Any]], bool]) -> bool:
        """Draw points until one is accepted.

        Args:
            known: The points so far, in the order they were entered.
            accept: Told the parameters of a point; False: it is not valid, or known.

        Returns:
            Whether one was accepted.
        """
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of what Optuna calls experimental
            study = optuna.create_study(directions=list(self.directions), sampler=self._sampler(len(known)))
            study.add_trials(self._trials(known))
            # A sequence begins with the points that are known.
            for _ in range(MAX_DRAWS + (len(known) if self.sampler == "qmc" else 0)):
                if accept(self._active(study.ask(dict(self.distributions)).params)):
                    return True
        return False

    def _active(self, drawn: Mapping[str, Any]) -> dict[str, Any]:
        params: dict[str, Any] = {}
        for name in self.distributions:
            if self.is_active(name, params):
                params[name] = drawn[name]
        return params

    def _sampler(self, num_known: int) -> BaseSampler:
        samplers, seed = optuna.samplers, self.seed + num_known
        if self.sampler == "random":
            return samplers.RandomSampler(seed)
        if self.sampler == "qmc":
            return samplers.QMCSampler(
                qmc_type="sobol", scramble=True, seed=self.seed, warn_independent_sampling=False
            )
        if self.sampler == "gp":
            return samplers.GPSampler(seed=seed, n_startup_trials=STARTUP, deterministic_objective=False)
        return samplers.TPESampler(
            seed=seed, multivariate=True, group=True, constant_liar=True, n_startup_trials=STARTUP
        )

    def _trials(self, known: Sequence[KnownPoint]) -> list[FrozenTrial]:
        trials = [trial_of(point, self.distributions) for point in known]
        if self.sampler == "qmc" and not any(
            point.values for point in known
        ):  # it looks at complete trials for what is searched
            anywhere = {
                name: _some_value(one) for name, one in self.distributions.items() if self.is_active(name, {})
            }
            trials.append(trial_of(KnownPoint(anywhere, [0.0] * len(self.directions)), self.distributions))
        return trials


def trial_of(point: KnownPoint, distributions: Mapping[str, BaseDistribution]) -> FrozenTrial:
    """Return a point as Optuna's trial: complete where it has values, else pruned or running."""
    state = TrialState.COMPLETE if point.values else TrialState.RUNNING
    return create_trial(
        params=dict(point.params),
        distributions={name: distributions[name] for name in point.params},
        values=list(point.values) or None,
        state=TrialState.PRUNED if point.is_pruned else state,
        intermediate_values=dict(point.intermediate),
        constraints=dict(point.excess) if point.values and point.excess else None,
    )


def distribution(domain: Domain) -> BaseDistribution:
    """Return what Optuna draws from for a domain."""
    if isinstance(domain, Choices):
        return CategoricalDistribution(domain.grid())
    if not domain.is_whole:
        return FloatDistribution(domain.low, domain.high, log=domain.log, step=domain.step)
    step = int(domain.step or 1)
    return IntDistribution(int(domain.low), int(domain.high), log=domain.log, step=step)


def _some_value(one: BaseDistribution) -> Any:
    return one.choices[0] if isinstance(one, CategoricalDistribution) else one.low


def importances(
    points: Sequence[KnownPoint], num_seeds: int, distributions: Mapping[str, BaseDistribution]
) -> Importances | None:
    """Return how much of the variance of the score each parameter explains; None where that cannot be told.

    By fANOVA (Hutter et al., ICML 2014), from `MIN_TRIALS` points on. On a grid the report splits up the
    variance exactly (`pgsbench.reporting.effects`).

    Args:
        points: Those without values do not count.
        num_seeds: Of which their values are means.
        distributions: Parameter -> what is drawn from.
    """
    scored = [KnownPoint(point.params, point.values[:1]) for point in points if point.values]
    scores = {point.values[0] for point in scored}
    if len(scored) < MIN_TRIALS or len(scores) < 2 or not all(map(math.isfinite, scores)):
        return None
    study = optuna.create_study()
    study.add_trials([trial_of(point, distributions) for point in scored])
    evaluator = optuna.importance.FanovaImportanceEvaluator(seed=0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            shares = dict(optuna.importance.get_param_importances(study, evaluator=evaluator))
        except (ValueError, RuntimeError):  # a parameter without variance
            return None
    return Importances(len(scored), num_seeds, shares) if shares else None
