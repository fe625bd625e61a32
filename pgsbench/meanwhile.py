"""What is done with a model at steps of its training: scores are measured, checkpoints are kept.

All processes of a run measure, each its share of the tasks. Nothing that is done here changes the training:
weights, order and masks are those of a run without it, bit for bit.
"""

from __future__ import annotations

import random
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Protocol

import numpy as np
import torch

from pgsbench.config.training import number_at
from pgsbench.devices import memory_told
from pgsbench.errors import Interrupted, RunError
from pgsbench.evaluation.evaluate import evaluate
from pgsbench.evaluation.suite import Suite, part_named
from pgsbench.evaluation.task_data import locate
from pgsbench.hashing import digest
from pgsbench.models import checkpoint
from pgsbench.models.clip import Clip
from pgsbench.models.source import state_hash
from pgsbench.records import files, kept
from pgsbench.records.kept import Kept
from pgsbench.records.run_records import Measured
from pgsbench.records.run_spec import RunSpec
from pgsbench.records.scores import Scores
from pgsbench.tracking.rundir import RunDir
from pgsbench.training.meter import Totals
from pgsbench.training.ranks import Ranks

#: Below the folder of an evaluation, while ranks share it: a folder of each.
PARTS = "parts"


class Judge(Protocol):
    """Looks at the scores of a run while it is trained, and may end it: `pgsbench.execution.pruning`.

    Attributes:
        is_pruned: Whether it has ended it.
    """

    is_pruned: bool

    def is_over(self) -> bool:
        """Whether it, or another process, has ended the run or its point."""
        ...

    def ends(self, run: RunDir, measured: Measured) -> bool:
        """Tell whether it ends the run, and mark it."""
        ...


@dataclass(frozen=True)
class Meanwhile:
    """What is done at steps of one training; each of its processes has one.

    Attributes:
        run: The run directory.
        spec: The run.
        suite: What it is tested on.
        clip: Its model.
        device: Where the model is.
        num_pairs: Pairs of an epoch.
        ranks: This process among those that train the run.
        should_stop: Asked while it is measured.
        judge: Looks at what was measured, on rank 0; None: nobody does.
    """

    run: RunDir
    spec: RunSpec
    suite: Suite
    clip: Clip
    device: torch.device
    num_pairs: int
    ranks: Ranks
    should_stop: Callable[[], bool]
    judge: Judge | None

    def is_due(self, step: int) -> bool:
        """Tell whether there is something to do after a step."""
        return bool(self._number(step) or self._is_kept(step))

    def visit(self, step: int, totals: Totals) -> bool:
        """Do what is due after a step, unless it was done before; return whether the training ends here.

        Raises:
            UserError: It fails on this rank, or on another one.
        """
        if self._number(step) and self._agreed(step, lambda: not self._is_measured(step)):
            try:
                scores = self._measure(step)
            except Interrupted:  # it is measured when the run goes on
                return True
            if self._agreed(step, partial(self._note, step, totals, scores)):
                return True
        if self._is_kept(step):
            self._agreed(step, partial(self._keep, step, totals))
        return False

    def _agreed(self, step: int, ask: Callable[[], bool]) -> bool:
        """Ask rank 0, and let all hear its answer or that it has failed."""
        said, error = False, None
        if self.ranks.is_first:
            try:
                said = ask()
            except Exception as raised:
                error = raised
        return self.ranks.agree(step, stop=said, error=error, patient=True)[0]

    # --------------------------------------------------------------------------------------------- scores

    def _number(self, step: int) -> int:
        during = self.spec.evaluation.during
        return number_at(step, during.every, self.spec.config.training, self.num_pairs) if during else 0

    @property
    def _tasks(self) -> tuple[str, ...]:
        during = self.spec.evaluation.during
        return tuple(during.tasks) if during else ()

    def _folder(self, step: int) -> str:
        return f"{files.MEANWHILE}/step-{step:08d}-{digest(self._tasks)[:8]}"

    def _is_measured(self, step: int) -> bool:
        return any((one.step, one.tasks) == (step, self._tasks) for one in self.run.curve())

    def _measure(self, step: int) -> Scores | None:
        return measure_together(
            self.clip,
            part_named(self.suite, self._tasks),
            whole=self.suite,
            out=self.run.path / self._folder(step),
            device=self.device,
            batch_size=self.spec.evaluation.batch_size,
            sha256=state_hash(self.clip.model),
            should_stop=self.should_stop,
            ranks=self.ranks,
            step=step,
        )

    def _note(self, step: int, totals: Totals, scores: Scores | None) -> bool:
        """Write down what was measured; return whether the judge ends the run."""
        assert scores is not None
        measured = Measured(
            number=self._number(step),
            step=step,
            samples=totals.samples,
            seconds=totals.train_seconds,
            cpu_seconds=totals.cpu_seconds,
            flops=totals.flops,
            tasks=self._tasks,
            folder=self._folder(step),
            fingerprint=scores.suite_fingerprint,
            scores={task: score.value for task, score in scores.primary().items()},
            groups={group: mean.value for group, mean in scores.groups.items()},
        )
        best = self.spec.config.training.keep and self.spec.config.training.keep.best
        if best:
            values = [_value(one, best) for one in self.run.curve() if one.tasks == self._tasks]
            if _value(measured, best) > max(values, default=-1.0):
                self._save(kept.BEST, step, totals)
        self.run.append_curve(measured)
        return self.judge is not None and self.judge.ends(self.run, measured)

    # ---------------------------------------------------------------------------------------- checkpoints

    def _is_kept(self, step: int) -> bool:
        keep = self.spec.config.training.keep
        if keep is None or keep.every is None:
            return False
        return bool(number_at(step, keep.every, self.spec.config.training, self.num_pairs))

    def _keep(self, step: int, totals: Totals) -> bool:
        self._save(kept.folder_name(step), step, totals)
        keep = self.spec.config.training.keep
        if keep is not None and keep.last is not None:
            for one in kept.listed(self.run.path)[: -keep.last]:
                shutil.rmtree(one)
        return False

    def _save(self, name: str, step: int, totals: Totals) -> None:
        folder = self.run.existing_path() / files.CHECKPOINTS / name
        try:
            checkpoint.save(self.clip, folder)
            steps = self.spec.config.training.steps
            kept.write(folder, Kept(step, totals.samples, step / steps, totals.samples / self.num_pairs))
        except OSError as error:
            raise RunError(
                f"the checkpoint after step {step} cannot be written: {error.strerror or error}",
                where=str(folder),
                way_out="make room, or keep fewer (training.keep); the same command goes on",
            ) from error


def _value(measured: Measured, name: str) -> float:
    return {**measured.scores, **measured.groups}[name]


def measure_together(
    clip: Clip,
    suite: Suite,
    *,
    whole: Suite,
    out: Path,
    device: torch.device,
    batch_size: int,
    sha256: str,
    should_stop: Callable[[], bool],
    ranks: Ranks,
    step: int,
) -> Scores | None:
    """Measure a model on a suite, each rank its share of the tasks; rank 0 gets the scores of all.

    Args:
        clip: The model, the same on all ranks; it and all states of randomness stay as they are.
        suite: What to measure.
        whole: The suite that it is a part of, or it itself.
        out: Where the scores go; what lies there is not measured again.
        device: Where the model is.
        batch_size: Pictures or texts encoded at a time.
        sha256: Hash of the weights.
        should_stop: Asked between batches.
        ranks: The processes.
        step: For messages.

    Raises:
        Interrupted: `should_stop` of any rank said so.
        UserError: It fails on this rank, or on another one.
    """
    parts = out / PARTS

    def measure(tasks: Suite, to: Path) -> Scores:
        way_out = "choose a smaller evaluation.batch_size"
        tell = lambda told: RunError("memory ran out", where="evaluation", value=told, way_out=way_out)  # noqa: E731
        with memory_told(tell), _randomness_kept(device):
            return evaluate(
                clip,
                tasks,
                out=to,
                device=device,
                batch_size=batch_size,
                checkpoint_sha256=sha256,
                earlier=(out, *sorted(parts.glob("*"))),
                part_of=whole,
                should_stop=should_stop,
            )

    if ranks.world_size > 1:
        own, stop, error = share_of(suite, ranks), False, None
        try:
            if own.tasks:
                measure(own, parts / str(ranks.rank))
        except Interrupted:
            stop = True
        except Exception as raised:
            error = raised
        if ranks.agree(step, stop=stop, error=error, patient=True)[0]:
            raise Interrupted
        if not ranks.is_first:
            return None
    scores = measure(suite, out)
    shutil.rmtree(parts, ignore_errors=True)
    return scores


def share_of(suite: Suite, ranks: Ranks) -> Suite:
    """Return the tasks of a suite that a rank measures.

    Tasks on the same pictures stay together, as these are encoded once. The largest sets are given out
    first, each to the rank with the least to do.
    """
    folders = locate(suite)
    sizes = {folder: _size(folder) for folder in folders.values()}
    loads, chosen = [0.0] * ranks.world_size, dict[Path, int]()
    for folder in sorted(sizes, key=lambda one: (-sizes[one], str(one))):
        chosen[folder] = loads.index(min(loads))
        loads[chosen[folder]] += sizes[folder]
    mine = tuple(task for task in suite.tasks if chosen[folders[task.name]] == ranks.rank)
    return replace(suite, tasks=mine)


def _size(folder: Path) -> int:
    total = 1
    for path in folder.rglob("*"):
        with suppress(OSError):
            total += path.stat().st_size
    return total


@contextmanager
def _randomness_kept(device: torch.device) -> Iterator[None]:
    on_gpu = torch.cuda.get_rng_state(device) if device.type == "cuda" else None
    states = random.getstate(), np.random.get_state(), torch.get_rng_state()
    try:
        yield
    finally:
        random.setstate(states[0])
        np.random.set_state(states[1])
        torch.set_rng_state(states[2])
        if on_gpu is not None:
            torch.cuda.set_rng_state(on_gpu, device)
