"""Optuna's record of a search: a SQLite file in the study's folder, or any RDB by ``OPTUNA_STORAGE``.

It is advice, never the truth: run directories say which points are complete, and a record that is lost is
written anew from them.
"""

from __future__ import annotations

import os
import re
import socket
import sqlite3
import time
from contextlib import closing
from pathlib import Path

import optuna
from filelock import FileLock
from optuna.trial import FrozenTrial, TrialState

from pgsbench.errors import StudyError
from pgsbench.files import atomic

DATABASE = "optuna.db"
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
    url = given or f"sqlite:///{folder / DATABASE}"
    try:
        if not given:
            _prepare(folder / DATABASE)
        study = optuna.create_study(
            storage=url, study_name=name, sampler=sampler, direction="maximize", load_if_exists=True
        )
    except Exception as error:  # each driver has errors of its own
        reason = f"{type(error).__name__}: {_without_password(str(error))}"
        raise StudyError(
            f"the storage of the search cannot be opened: {reason}",
            where="OPTUNA_STORAGE" if given else url,
            way_out="name it as in sqlite:///FILE or postgresql+psycopg://USER:PASSWORD@HOST/NAME "
            "(which needs `pip install 'psycopg[binary]'`)",
        ) from error
    _close_abandoned(study)
    return study


def this_process() -> str:
    """Return what `PROCESS` says of a trial of this process."""
    return f"{socket.gethostname()}:{os.getpid()}"


def _prepare(database: Path) -> None:
    """Make the file where it does not exist, whole or not at all; a damaged one is moved aside.

    A process that is killed while it makes the tables would leave a file that nobody can use.
    """
    with FileLock(database.with_name(f".{database.name}.lock")):
        if database.is_file() and not _is_whole(database):
            database.rename(database.with_name(f"{database.name}.damaged-{int(time.time())}"))
        if not database.is_file():
            with atomic(database) as scratch:
                storage = optuna.storages.RDBStorage(f"sqlite:///{scratch}")
                storage.engine.dispose()


def _is_whole(database: Path) -> bool:
    try:
        with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as connection:
            tables = {
                name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
            }
            versions = connection.execute("SELECT * FROM alembic_version").fetchall()
    except sqlite3.DatabaseError as error:
        return "locked" in str(error)  # somebody works with it, so it works
    return bool(versions) and {"studies", "trials", "version_info"} <= tables


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


def _without_password(text: str) -> str:
    return re.sub(r"(://[^:/@\s]+):[^@\s]+@", r"\1:***@", text)
