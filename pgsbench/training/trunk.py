"""The trunk that trainings share which differ only in length: states that each leaves, and may begin from.

With ``schedule: wsd`` no step before the decay knows how long the training is (Haegele et al. 2024, arXiv
2405.18392). So each training keeps its whole state where its decay begins, and a longer one begins there: the
bits are those of a training from the beginning. States lie in ``runs/_trunks/<trunk>/step-00000200``, shared
by all studies, each with what the run had written until then. They may be deleted at any time.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open

from pgsbench.config.training import TrainingConfig
from pgsbench.disk.held import turn
from pgsbench.errors import RunError
from pgsbench.records import files
from pgsbench.records.json_files import read_record, write_record
from pgsbench.records.run_records import Branch
from pgsbench.records.run_spec import RunSpec
from pgsbench.training import state
from pgsbench.training.meter import Totals

#: What a run has written until a state, and a branch takes over.
_WRITTEN = (files.METRICS, files.CURVE, files.DAMAGE)


@dataclass(frozen=True)
class Trunk:
    """What a run shares with others of its trunk; used by its first process alone.

    Attributes:
        folder: Where the states of the trunk lie; None: the run shares nothing.
        run: The run directory.
        name: The run's folder, as the record of a branch says it.
        training: How it is trained.
    """

    folder: Path | None
    run: Path
    name: str
    training: TrainingConfig

    @classmethod
    def of(cls, spec: RunSpec, run: Path, runs_root: Path, *, world_size: int) -> Trunk:
        """Return the trunk of a run, which `world_size` processes train."""
        trunk = spec.trunk(world_size)
        folder = runs_root / files.TRUNKS / trunk if trunk else None
        return cls(folder, run, spec.folder, spec.config.training)

    def begin(self) -> None:
        """Let a run that has no state of its own go on from the last one up to its decay, if any."""
        own = self.run / files.STATE
        if self.folder is None or any(own.glob(state.PATTERN)):
            return
        (self.run / files.BRANCH).unlink(missing_ok=True)
        for step in sorted(_steps_kept(self.folder), reverse=True):
            if step > self.training.first_decay_step:
                continue
            with suppress(OSError), turn(self.folder):  # whoever deletes it meanwhile has not been in time
                found = self.folder / state.folder_name(step)
                if not _is_whole(found):
                    continue
                for name in _WRITTEN:
                    (self.run / name).unlink(missing_ok=True)
                    if (found / name).is_file():
                        shutil.copyfile(found / name, self.run / name)
                shutil.copyfile(found / files.BRANCH, self.run / files.BRANCH)
                _linked(found, own / found.name)
                return

    def keep(self, step: int) -> None:
        """Keep the state that the run has just saved, where others may begin from it.

        A disk that takes it no more costs the others their branch, not this run its end.
        """
        if self.folder is None or step not in self.training.kept_steps:
            return
        saved = self.run / files.STATE / state.folder_name(step)
        with suppress(OSError):
            self.folder.mkdir(parents=True, exist_ok=True)
            with turn(self.folder):
                if not (self.folder / saved.name).exists():
                    _linked(saved, self.folder / saved.name, then=lambda scratch: self._tell(saved, scratch))

    def _tell(self, saved: Path, scratch: Path) -> None:
        """Write beside a state what its run has written so far."""
        numbers = json.loads((saved / state.NUMBERS_FILE).read_text())
        totals, step = Totals(**numbers["totals"]), int(numbers["step"])
        branch = Branch(
            self.name, step, totals.samples, totals.train_seconds, totals.cpu_seconds, totals.flops
        )
        write_record(scratch / files.BRANCH, branch)
        for name in _WRITTEN:
            if (self.run / name).is_file():
                shutil.copyfile(self.run / name, scratch / name)

    @property
    def branch(self) -> Branch | None:
        """Where the run has begun; None: at its beginning."""
        return read_record(self.run / files.BRANCH, Branch, RunError)


def first_step(spec: RunSpec, runs_root: Path, world_size: int, foreseen: Sequence[RunSpec] = ()) -> int:
    """Return the step at which a run will begin, by the states that are there and those that will be.

    Args:
        spec: The run.
        runs_root: The folder of all studies.
        world_size: Processes that train it.
        foreseen: Runs that will be trained before it.
    """
    training, trunk = spec.config.training, spec.trunk(world_size)
    if not trunk:
        return 0
    there = _steps_kept(runs_root / files.TRUNKS / trunk)
    there += [s for one in foreseen if one.trunk(world_size) == trunk for s in one.config.training.kept_steps]
    return max((0, *(step for step in there if step <= training.first_decay_step)))


def _steps_kept(folder: Path) -> list[int]:
    return [state.step_of(path) for path in folder.glob(state.PATTERN)]


def _is_whole(folder: Path) -> bool:
    try:
        json.loads((folder / state.NUMBERS_FILE).read_text())
        with safe_open(folder / state.TENSORS_FILE, framework="pt"):
            return True
    except (OSError, ValueError, SafetensorError):
        return False


def _linked(source: Path, target: Path, then: Any = lambda _: None) -> None:
    """Give a state a second place, without a second copy where the disk can; whole or not at all."""
    scratch = target.with_name(f"writing-{target.name}")
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir(parents=True)
    try:
        for name in (state.TENSORS_FILE, state.NUMBERS_FILE):
            try:
                os.link(source / name, scratch / name)
            except OSError:  # a file system without links
                shutil.copyfile(source / name, scratch / name)
        then(scratch)
        scratch.rename(target)
    except OSError:
        shutil.rmtree(scratch, ignore_errors=True)
        raise
