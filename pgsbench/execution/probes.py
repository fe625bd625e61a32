"""Probes: a part of the suite, on which a searched run is measured while it is trained.

What a probe gives lies in the run directory, so every process of a study knows it, on any machine. The
process that trains a run asks its pruner right after a probe, beside the runs of the same seed, and marks the
run while it still holds it. A point of which one run is pruned is pruned: its other runs end at their next
probe, or never begin.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path

import torch

from pgsbench.config.search import SearchConfig
from pgsbench.evaluation.evaluate import evaluate
from pgsbench.evaluation.identity import current_fingerprint
from pgsbench.evaluation.suite import part_named
from pgsbench.execution.probed import probe_folder, probed, shares_of
from pgsbench.experiment import suite_of
from pgsbench.models.clip import Clip
from pgsbench.records import files
from pgsbench.records.run_records import PrunedMark
from pgsbench.records.run_spec import RunSpec
from pgsbench.records.study_record import StudyRecord
from pgsbench.tracking.rundir import RunDir
from pgsbench.tracking.states import pruned_points, pruned_runs


def prober_of(spec: RunSpec, runs_root: Path) -> Prober | None:
    """Return what looks at a run while it is trained; None where its study asks for nothing.

    Args:
        spec: The run; one that is not searched is not looked at.
        runs_root: The folder of all studies.
    """
    folder = runs_root / spec.study
    if not spec.params or not (folder / files.STUDY).is_file():
        return None
    search = StudyRecord.read(folder).config.search
    return Prober(spec, runs_root, search) if search is not None and search.probe is not None else None


class Prober:
    """Measures a run at its probes, and tells whether the pruner ends it.

    Args:
        spec: The run.
        runs_root: The folder of all studies.
        search: The search, with a probe.

    Attributes:
        is_pruned: Whether it has been ended.
    """

    def __init__(self, spec: RunSpec, runs_root: Path, search: SearchConfig) -> None:
        self._spec, self._root, self._search = spec, runs_root, search
        self._folder = runs_root / spec.study
        self.is_pruned = False

    def is_over(self) -> bool:
        """Whether this or another process has ended the run or its point."""
        runs = StudyRecord.read(self._folder).runs
        return self._spec.label in pruned_points(self._folder, self._search, runs)

    def probes(self, run: RunDir, clip: Clip, device: torch.device) -> Mapping[int, Callable[[], bool]]:
        """Return step -> what is asked after it: True ends the training.

        Args:
            run: The run's directory.
            clip: Its model, which a probe leaves as it is.
            device: Where it is.
        """
        steps = self._spec.config.training.steps
        at = {max(1, min(steps - 1, round(share * steps))): share for share in shares_of(self._search)}
        return {step: partial(self._ask, run, clip, device, step, share) for step, share in at.items()}

    def _ask(self, run: RunDir, clip: Clip, device: torch.device, step: int, share: float) -> bool:
        probe = self._search.probe
        assert probe is not None
        whole = suite_of(self._spec)
        evaluate(
            clip,
            part_named(whole, probe.tasks),
            out=probe_folder(run, self._search, share),
            device=device,
            batch_size=self._spec.evaluation.batch_size,
            part_of=whole,
        )
        why = self._why(run, share)
        if not why:
            return False
        line = run.last_line()
        seconds = line["seconds"] * step / line["step"] if line else 0.0
        why = f"at {share:.0%} of the training {why}"
        run.prune(PrunedMark(self._spec.study, str(self._search.pruner), why, step, seconds))
        self.is_pruned = True
        return True

    # --------------------------------------------------------------------------------------------- judging

    def _why(self, run: RunDir, share: float) -> str:
        """Return why the run is ended; empty: it is not."""
        if self._search.pruner is None:
            return ""
        others = list(self._others())
        ended = pruned_runs(self._folder, self._search, StudyRecord.read(self._folder).runs)
        for other, directory in others:
            if other.label == self._spec.label and other.id in ended and not directory.is_done:
                return f"another seed of its point was pruned ({other.name})"
        ours = probed(self._spec, run, self._search, until=share)
        if len(ours.values) <= shares_of(self._search).index(share):
            return ""  # an earlier probe is missing, as the pruner was added later
        from pgsbench.execution.pruners import why_pruned  # it imports Optuna: only what is judged needs it

        suite = current_fingerprint(suite_of(self._spec))
        rivals = [
            probed(other, directory, self._search, like=ours.fingerprint, suite=suite)
            for other, directory in others
            if other.seed == self._spec.seed and other.evaluation == self._spec.evaluation
        ]
        return why_pruned(self._search.pruner, ours, [one for one in rivals if one.values])

    def _others(self) -> Iterator[tuple[RunSpec, RunDir]]:
        """Yield the other searched runs of the study, equal ones once."""
        seen = {self._spec.id}
        for planned in StudyRecord.read(self._folder).runs:
            if planned.spec.params and planned.spec.id not in seen:
                seen.add(planned.spec.id)
                yield planned.spec, RunDir(self._root / planned.directory)
