"""Joining a study: a process that plans nothing works on what another command has planned."""

from __future__ import annotations

import time
from pathlib import Path

from pgsbench.errors import StudyError
from pgsbench.execution.folder import StudyFolder
from pgsbench.execution.pending import Pending
from pgsbench.execution.runs import Watcher, train
from pgsbench.execution.search import search
from pgsbench.execution.slots import Slots
from pgsbench.records.run_spec import Numerics, RunSpec
from pgsbench.records.study_record import StudyRecord
from pgsbench.study.plan import torch_version
from pgsbench.study.study_file import StudyFile

#: Between two looks at what else has been entered, as each reads the whole study.
LOOK_SECONDS = 5.0


def joined_file(record: StudyRecord) -> StudyFile:
    """Return the study of a record, as the command that wrote it had opened it."""
    of_commands = frozenset(run.spec.arm for run in record.runs if run.is_of_command)
    folder = Path(record.folder)
    return StudyFile(record.config, record.source, folder, lambda dotted: dotted, of_commands)


def numerics_of(record: StudyRecord) -> Numerics:
    """Return on what arithmetic the study is trained.

    Raises:
        StudyError: Nothing is planned, or another version of PyTorch is installed here.
    """
    if not record.runs:
        raise StudyError(
            "nothing is planned in this study",
            where=record.config.name,
            way_out="`pgsbench train`, `compare` or `sweep` plans it; with --detach it trains nothing",
        )
    # With --any-numerics a run stands there with the numerics that it was reused with.
    numerics, here = record.numerics or record.runs[-1].spec.numerics, torch_version()
    if numerics.torch != here:
        raise StudyError(
            f"the study is trained with PyTorch {numerics.torch}, and here is {here}",
            where=record.config.name,
            way_out=f"install torch {numerics.torch}: runs of one study must compare",
        )
    return numerics


def join(folder: StudyFolder, slots: Slots, watcher: Watcher) -> list[tuple[RunSpec, Exception]]:
    """Work on a study until nothing of it is left that nobody works on or has ended; return what failed.

    Runs that failed before are left alone until `study retry` wants them again; what other commands enter
    meanwhile is worked on, too.

    Args:
        folder: The study; its planner has the study's numerics.
        slots: Where runs are trained.
        watcher: Told of progress.

    Raises:
        StudyError: The study was cancelled.
    """
    specs = [run.spec for run in folder.runs.values()]
    if folder.study.config.search is not None:
        references = [spec for spec in specs if not spec.params]
        return search(folder, references, slots, watcher, retry=False)
    looked = time.monotonic()

    def more() -> list[RunSpec]:
        """Return runs that other commands have entered since, and those that `study retry` wants again."""
        nonlocal looked
        if time.monotonic() - looked < LOOK_SECONDS:
            return []
        folder.refresh()
        pruned, failed = folder.pruned(), folder.marks.failure
        specs = [run.spec for run in folder.runs.values() if run.spec not in pending]
        wanted = [spec for spec in specs if not failed(spec.id) and spec.label not in pruned]
        looked = time.monotonic()
        return [spec for spec in wanted if not folder.is_complete(spec)]

    pending = Pending(folder, specs, more=more, on_note=watcher.on_note)
    return [(one.spec, one.error) for one in train(folder, slots, watcher, pending) if one.error is not None]
