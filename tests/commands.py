"""Commands as a user types them, in this process: a new one would spend most of its time on imports."""

from __future__ import annotations

import io
import os
import signal
import sys
from contextlib import chdir, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path

import pytest

from pgsbench.cli import main


@dataclass(frozen=True)
class Done:
    """What a command printed, and its exit status."""

    returncode: int
    stdout: str
    stderr: str


def pgsbench(folder: Path, *words: str) -> Done:
    """Run a command in a folder."""
    at_end = signal.getsignal(signal.SIGTERM)
    out, err, status = io.StringIO(), io.StringIO(), 0
    with chdir(folder), redirect_stdout(out), redirect_stderr(err), pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["pgsbench", *words])
        try:
            main()
        except SystemExit as end:
            status = int(end.code or 0)
        finally:
            signal.signal(signal.SIGTERM, at_end)
    return Done(status, out.getvalue(), err.getvalue())


def as_rank(rank: int, port: int, *words: str) -> None:
    """Be one of two processes in which torchrun runs a command."""
    os.environ |= {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": "2"}
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    sys.argv = ["pgsbench", *words]
    main()
