"""What Optuna's dashboard shows of a search: the file ``optuna.db`` in the study's folder.

It is a mirror, never the truth: run directories say which points are complete, and a file that is lost, or
that could not be written for a while, is filled again from them.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import optuna
from optuna.distributions import BaseDistribution
from optuna.trial import TrialState, create_trial

from pgsbench.execution.adviser import KnownPoint, trial_of

DATABASE = "optuna.db"
#: What a point is called, as an attribute of its trial: `RunSpec.label`.
LABEL = "label"


class Trials:
    """The trials of one search.

    Args:
        folder: The study's folder.
        name: Name of the search.
        distributions: Parameter -> what is drawn from.
        metrics: Names of what is searched, for people.
        directions: ``maximize`` or ``minimize``, one a metric.
        on_note: Told where the file cannot be written; nothing waits for it.
    """

    def __init__(
        self,
        folder: Path,
        name: str,
        distributions: Mapping[str, BaseDistribution],
        metrics: Sequence[str],
        directions: Sequence[str],
        on_note: Callable[[str], None] = lambda _: None,
    ) -> None:
        self._database, self._name = folder.absolute() / DATABASE, name
        self._distributions, self._metrics, self._directions = distributions, metrics, directions
        self._on_note, self._is_behind = on_note, False
        self._study: optuna.Study | None = None

    def add(self, label: str, point: KnownPoint, about: Mapping[str, Any] | None = None) -> None:
        """Add a point that is complete, or was pruned; one that is there already stays.

        Args:
            label: What it is called.
            point: Its values.
            about: What else people want to see beside it, such as its scores by group.
        """

        def add(study: optuna.Study) -> None:
            ended = (TrialState.COMPLETE, TrialState.PRUNED)
            known = study.get_trials(deepcopy=False, states=ended)
            if any(trial.user_attrs.get(LABEL) == label for trial in known):
                return
            trial = trial_of(point, self._distributions)
            for key, value in {LABEL: label, **(about or {})}.items():
                trial.set_user_attr(key, value)
            study.add_trial(trial)

        self._write(add)

    def fail(self, label: str, point: KnownPoint, why: str) -> None:
        """Add a point that failed."""
        distributions = {name: self._distributions[name] for name in point.params}
        self._write(
            lambda study: study.add_trial(
                create_trial(
                    params=dict(point.params),
                    distributions=distributions,
                    state=TrialState.FAIL,
                    user_attrs={LABEL: label, "error": why},
                )
            )
        )

    def _write(self, write: Callable[[optuna.Study], None]) -> None:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of what Optuna calls experimental
                self._study = self._study or self._opened()
                write(self._study)
        except Exception as error:  # a mirror must never end a search; each driver has errors of its own
            if not self._is_behind:
                text = str(error).strip().partition("\n")[0]
                self._on_note(f"{self._database.name} is behind ({text}); the next command fills it again")
            self._is_behind = True

    def _opened(self) -> optuna.Study:
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        study = optuna.create_study(
            storage=f"sqlite:///{self._database}",
            study_name=self._name,
            sampler=optuna.samplers.RandomSampler(),  # never asked: `pgsbench.execution.adviser` draws
            directions=self._directions,
            load_if_exists=True,
        )
        study.set_metric_names(list(self._metrics))
        return study
