"""Optuna's record of a search, for its dashboard: a SQLite file in the study's folder, or any RDB.

It is a mirror, never the truth: run directories say which points are complete, and a record that is lost, or
that could not be reached for a while, is written anew from them. Any number of processes write to one.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import optuna
from filelock import FileLock
from optuna.distributions import BaseDistribution
from optuna.trial import FrozenTrial, TrialState

from pgsbench.disk.databases import lock_path, prepare
from pgsbench.disk.leases import Holder, this_process
from pgsbench.errors import StudyError, without_password
from pgsbench.execution.adviser import KnownPoint, trial_of

DATABASE = "optuna.db"
#: Tables that have rows as soon as Optuna has made all of them.
FILLED = ("version_info", "alembic_version")
#: Scheme of an address of Optuna's gRPC proxy, and the port that it listens on if nobody says another.
PROXY, PROXY_PORT = "grpc", 13000
#: Attributes of a trial: what the point is called, `RunSpec.label`, and which process began it.
LABEL, STARTED_BY = "label", "started_by"


class Trials:
    """The trials of one search.

    Args:
        folder: The study's folder.
        name: Name of the search.
        distributions: Parameter -> what is drawn from.
        metrics: Names of what is searched, for people.
        directions: ``maximize`` or ``minimize``, one a metric.
        on_note: Told where the storage cannot be reached; nothing waits for it.

    Raises:
        StudyError: The storage cannot be opened.
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
        self._distributions, self._on_note, self._is_behind = distributions, on_note, False
        self._study = open_storage(folder, name, directions)
        self._tell(lambda: self._study.set_metric_names(list(metrics)))

    def start(self, label: str, point: KnownPoint) -> None:
        """Say that a point is worked on; one that is there already stays."""
        self._tell(lambda: self._start(label, point))

    def complete(self, label: str, point: KnownPoint, about: Mapping[str, Any]) -> None:
        """Say what a point has given; said once, by whoever is first.

        Args:
            label: What the point is called.
            point: Its values.
            about: What else people want to see beside it, such as its scores by group.
        """
        self._tell(lambda: self._complete(label, point, about))

    def fail(self, label: str, point: KnownPoint, why: str) -> None:
        """Say why a point failed, once for each time that it was begun."""

        def tell() -> None:
            known = self._of(label)
            if known and not any(trial.state is TrialState.RUNNING for trial in known):
                return  # another process has said so, or has completed it
            trial = self._start(label, point)
            if trial is not None:
                self._study._storage.set_trial_user_attr(trial._trial_id, "error", why)
                self._study.tell(trial.number, state=TrialState.FAIL, skip_if_finished=True)

        self._tell(tell)

    def prune(self, label: str, point: KnownPoint) -> None:
        """Say that a point was ended early; said once."""

        def tell() -> None:
            trial = self._start(label, point)
            if trial is not None:
                self._report(trial, point)
                self._study.tell(trial.number, state=TrialState.PRUNED, skip_if_finished=True)

        self._tell(tell)

    def close(self, labels: Sequence[str]) -> None:
        """Close trials of points that nobody works on, as those of a search that was stopped.

        What a process that lives has begun is left to it: its worker may be about to take the run.
        """

        def tell() -> None:
            for trial in self._study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
                if trial.user_attrs.get(LABEL) in labels and _is_left(trial):
                    self._study.tell(trial.number, state=TrialState.FAIL, skip_if_finished=True)

        self._tell(tell)

    def _start(self, label: str, point: KnownPoint) -> FrozenTrial | None:
        """Return the running trial of a point, made where there is none; None: it is complete or pruned."""
        known = self._of(label)
        if any(trial.state in (TrialState.COMPLETE, TrialState.PRUNED) for trial in known):
            return None
        running = [trial for trial in known if trial.state is TrialState.RUNNING]
        if not running:
            self._study.add_trial(self._trial(label, KnownPoint(point.params)))
            running = [trial for trial in self._of(label) if trial.state is TrialState.RUNNING]
        return running[0]

    def _complete(self, label: str, point: KnownPoint, about: Mapping[str, Any]) -> None:
        known = self._of(label)
        if any(trial.state is TrialState.COMPLETE for trial in known):
            return
        running = next((trial for trial in known if trial.state is TrialState.RUNNING), None)
        if running is None:
            trial = self._trial(label, point)
            for name, value in about.items():
                trial.set_user_attr(name, value)
            self._study.add_trial(trial)
        else:
            for name, value in about.items():
                self._study._storage.set_trial_user_attr(running._trial_id, name, value)
            self._report(running, point)
            self._study.tell(running.number, list(point.values), skip_if_finished=True)

    def _report(self, trial: FrozenTrial, point: KnownPoint) -> None:
        for percent, value in point.intermediate.items():
            self._study._storage.set_trial_intermediate_value(trial._trial_id, percent, value)

    def _trial(self, label: str, point: KnownPoint) -> FrozenTrial:
        trial = trial_of(point, self._distributions, {})
        trial.set_user_attr(LABEL, label)
        trial.set_user_attr(STARTED_BY, asdict(this_process()))
        return trial

    def _of(self, label: str) -> list[FrozenTrial]:
        return [one for one in self._study.get_trials(deepcopy=False) if one.user_attrs.get(LABEL) == label]

    def _tell(self, tell: Callable[[], None]) -> None:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of what Optuna calls experimental
                tell()
        except Exception as error:  # a mirror must never end a search; each driver has errors of its own
            if not self._is_behind:
                text = without_password(str(error).strip().partition("\n")[0])
                self._on_note(f"Optuna's record is behind ({text}); the next command brings it up to date")
            self._is_behind = True
        with suppress(Exception):  # a connection that broke is made anew
            self._study._storage.remove_session()


def _is_left(trial: FrozenTrial) -> bool:
    """Tell whether this process has begun a trial, or one that is gone."""
    if STARTED_BY not in trial.user_attrs:  # it is an older version's
        return True
    process = Holder(**trial.user_attrs[STARTED_BY])
    return process.is_gone or process == this_process()


def open_storage(folder: Path, name: str, directions: Sequence[str] = ("maximize",)) -> optuna.Study:
    """Return the record of a search, new or known.

    Args:
        folder: The study's folder.
        name: Name of the search.
        directions: ``maximize`` or ``minimize``, one a metric.

    Raises:
        StudyError: The storage cannot be opened.
    """
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    folder.mkdir(parents=True, exist_ok=True)
    given = os.environ.get("OPTUNA_STORAGE")
    database = folder.absolute() / DATABASE
    url = given or f"sqlite:///{database}"
    try:
        if not given:
            with FileLock(lock_path(database)):
                prepare(database, filled=FILLED, make=_make_tables)
        # The sampler is never asked: `pgsbench.execution.adviser` draws.
        sampler = optuna.samplers.RandomSampler()
        return optuna.create_study(
            storage=_storage(url),
            study_name=name,
            sampler=sampler,
            directions=directions,
            load_if_exists=True,
        )
    except Exception as error:  # each driver has errors of its own
        raise StudyError(
            f"the storage of the search cannot be opened: {type(error).__name__}: {error}",
            where="OPTUNA_STORAGE" if given else url,
            way_out="name it as in sqlite:///FILE, postgresql+psycopg://USER:PASSWORD@HOST/NAME "
            "(which needs `pip install 'psycopg[binary]'`) or grpc://HOST:PORT (`pip install grpcio`)",
        ) from error


def _storage(url: str) -> optuna.storages.BaseStorage:
    parts = urlsplit(url)
    if parts.scheme == PROXY:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Optuna calls it experimental
            return optuna.storages.GrpcStorageProxy(host=parts.hostname or "", port=parts.port or PROXY_PORT)
    # A server that restarts leaves dead connections behind, which are looked at before they are used.
    return optuna.storages.RDBStorage(url, engine_kwargs={"pool_pre_ping": True})


def _make_tables(url: str) -> None:
    optuna.storages.RDBStorage(url).engine.dispose()
