"""Processes that are forked from one which has imported all: a spawned one would spend seconds on that."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

from quick_disk import no_power_cut

from pgsbench.execution import local

get_context = multiprocessing.get_context

#: What every process of a test begins with; readers of streamed data, which begin likewise, would load less.
ALL = ["pgsbench.execution.local", "pgsbench.evaluation.evaluate", "open_clip"]


@contextmanager
def one_fork_server() -> Iterator[None]:
    """Let all that is forked come from one process that has imported all, whoever starts it."""
    fork = get_context("forkserver")
    load = fork.set_forkserver_preload
    with patch.object(fork, "set_forkserver_preload", lambda _: load(ALL)):
        yield


@contextmanager
def quick_workers() -> Iterator[None]:
    """Let what would be spawned begin so; a slot has the environment of the test that it is for."""
    fork = get_context("forkserver")
    fork.set_forkserver_preload(ALL)
    context = {"spawn": fork, "forkserver": fork}
    with (
        patch.object(multiprocessing, "get_context", lambda how=None: context.get(how) or get_context(how)),
        patch.object(local, "ProcessPoolExecutor", _pool),
    ):
        yield


def _pool(workers: int, *, initializer: Callable[..., None], initargs: Any, **more: Any) -> Any:
    start = (dict(os.environ), initializer, *initargs)
    return ProcessPoolExecutor(workers, initializer=_begin, initargs=start, **more)


def _begin(environ: dict[str, str], begin: Callable[..., None], *args: Any) -> None:
    os.environ.clear()
    os.environ.update(environ)
    os.fsync = no_power_cut
    begin(*args)
