"""What every process that trains does first: obey its parent, and not outlive it."""

from __future__ import annotations

import os
import signal
import threading
import time
from multiprocessing import parent_process
from multiprocessing.synchronize import Event

import torch

SAVE_SECONDS = 60.0  # time to finish a step and save after the parent has died


def begin(threads: int, stop: Event) -> None:
    """Prepare a new process.

    Args:
        threads: CPU threads.
        stop: Set where it shall save and end.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the parent decides
    for one in (signal.SIGUSR1, signal.SIGUSR2):  # of a cluster, to all processes of a job; likewise
        signal.signal(one, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    torch.set_num_threads(threads)
    threading.Thread(target=_leave_with_parent, args=(stop,), daemon=True).start()


def _leave_with_parent(stop: Event) -> None:
    # A parent that is killed cannot say goodbye, and its workers would wait for it forever.
    parent = parent_process()
    assert parent is not None
    parent.join()
    stop.set()
    time.sleep(SAVE_SECONDS)
    os._exit(1)
