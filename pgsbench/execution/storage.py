"""Optuna's record of a search: a SQLite file in the study's folder, or any RDB by ``OPTUNA_STORAGE``.

It is advice, never the truth: run directories say which points are complete, and a record that is lost is
written anew from them.
"""

from __future__ import annotations

import os
import socket
from pathlib import Path

import optuna
from filelock import FileLock
from optuna.trial import FrozenTrial, TrialState

from pgsbench.databases import lock_path, prepare
from pgsbench.errors import StudyError

DATABASE = "optuna.db"
#: Tables that have rows as soon as Optuna has made all of them.
FILLED = ("version_info", "alembic_version")
#: Attribute of a trial: the host and the process that work on it.
PROCESS = "process"


def open_storage(folder: Path, name: str, sampler: optuna.samplers.BaseSampler) -> optuna.Study:
    """Return the record of a search, new or known; what a dead process of this host left open is closed.

    Args:
        folder: The study's folder.
        name: Name of the search.
        sampler: What draws new points.

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
        study = optuna.create_study(
            storage=url, study_name=name, sampler=sampler, direction="maximize", load_if_exists=True
        )
    except Exception as error:  # each driver has errors of its own
        raise StudyError(
            f"the storage of the search cannot be opened: {type(error).__name__}: {error}",
            where="OPTUNA_STORAGE" if given else url,
            way_out="name it as in sqlite:///FILE or postgresql+psycopg://USER:PASSWORD@HOST/NAME "
            "(which needs `pip install 'psycopg[binary]'`)",
        ) from error
    _close_abandoned(study)
    return study


def this_process() -> str:
    """Return what `PROCESS` says of a trial of this process."""
    return f"{socket.gethostname()}:{os.getpid()}"


def _make_tables(url: str) -> None:
    optuna.storages.RDBStorage(url).engine.dispose()


def _close_abandoned(study: optuna.Study) -> None:
    for trial in study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
        if _is_abandoned(trial):
            study.tell(trial.number, state=TrialState.FAIL)
    for trial in study.get_trials(deepcopy=False, states=(TrialState.WAITING,)):
        if _is_abandoned(trial):
            study.tell(study.ask(), state=TrialState.FAIL)  # which takes what waits first


def _is_abandoned(trial: FrozenTrial) -> bool:
    host, _, process = str(trial.user_attrs.get(PROCESS, "")).rpartition(":")
    if host != socket.gethostname():
        return not host  # what says nothing was cut off before it could; other hosts look after their own
    if int(process) == os.getpid():  # an earlier search of this process, which was interrupted
        return True
    try:
        os.kill(int(process), 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        pass
    return False
