"""Why a run failed, in words: a mistake of the user's as it is, anything else with a traceback on disk."""

from __future__ import annotations

import traceback
from collections.abc import Iterator
from contextlib import contextmanager

from pgsbench.errors import Interrupted, RankLostError, RunHeldError, UserError
from pgsbench.records import files
from pgsbench.records.run_records import Failure
from pgsbench.tracking.rundir import RunDir


@contextmanager
def saying_why(run: RunDir) -> Iterator[None]:
    """Write why a run fails while it is held: nobody may take it for one that is free."""
    try:
        yield
    except (Interrupted, RunHeldError, RankLostError):  # no failure, or one that another rank tells of
        raise
    except Exception as error:
        run.fail(failure_of(error, run))
        raise


def failure_of(error: Exception, run: RunDir) -> Failure:
    """Return what is said of a run that failed; what is nobody's mistake leaves its traceback there."""
    if isinstance(error, UserError):
        return Failure(str(error))
    log = run.path / files.TRACEBACK
    try:
        log.write_text("".join(traceback.format_exception(error)))
    except OSError:  # such as a full disk, which is then the reason itself
        return Failure(_text_of(error))
    return Failure(_text_of(error), str(log))


def _text_of(error: Exception) -> str:
    text = str(error).strip().partition("\n")[0][:300]
    if isinstance(error, OSError) and error.strerror:
        text = f"{error.strerror}{f': {error.filename}' if error.filename else ''}"
    return f"{type(error).__name__}: {text}"
