"""What a pruner looks at: scores of searched runs while they are trained (`evaluation.during`).

They lie in the run directories, so every process of a study knows them, on any machine. The process that
trains a run asks its pruner right after a measurement, beside the runs of the same seed, and marks the run
while it still holds it. A point of which one run is pruned is pruned: its other runs end at their next
measurement, or never begin.

Whether it looks bad is asked of Optuna's pruners, in memory, about what is known: as with its samplers
(`pgsbench.execution.adviser`) any number of processes judge alike, and no storage has to be there.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING

import numpy as np

from pgsbench.config.search import SearchConfig
from pgsbench.evaluation.identity import current_fingerprint
from pgsbench.evaluation.suite import suite_of
from pgsbench.records import files
from pgsbench.records.run_records import Measured, PrunedMark
from pgsbench.records.run_spec import RunSpec
from pgsbench.records.scores import Scores
from pgsbench.records.study_record import StudyRecord
from pgsbench.study.objective import Objective
from pgsbench.tracking.rundir import RunDir
from pgsbench.tracking.states import pruned_points, pruned_runs

if TYPE_CHECKING:  # Optuna is imported by what is judged alone
    import optuna

#: Points that are complete before the median ends any.
STARTUP = 4
#: Of the one-sided signed-rank test.
ALPHA = 0.05


@dataclass(frozen=True)
class Probed:
    """A searched run, as far as a pruner looks at it.

    Attributes:
        name: `RunSpec.name`.
        values: Its value at each measurement so far, the first one first.
        score: What is searched, where the run is complete.
        outcomes: From the number of a measurement, from 0, to test item -> outcome.
        fingerprint: Of the suite that was measured.
    """

    name: str
    values: Sequence[float]
    score: float | None = None
    outcomes: Callable[[int], Mapping[str, float]] = lambda _: {}
    fingerprint: str = ""


def probe_values(spec: RunSpec, run: RunDir) -> dict[int, float]:
    """Return what was measured of a run so far: percent of the training -> mean of the groups."""
    steps = spec.config.training.steps
    return {round(100 * one.step / steps): one.mean for one in _measured(spec, run)}


def judge_of(spec: RunSpec, runs_root: Path) -> PrunerJudge | None:
    """Return what may end a run while it is trained; None where its study prunes nothing.

    Args:
        spec: The run; one that is not searched is not looked at.
        runs_root: The folder of all studies.
    """
    folder = runs_root / spec.study
    if not spec.params or not (folder / files.STUDY).is_file():
        return None
    search = StudyRecord.read(folder).config.search
    return PrunerJudge(spec, runs_root, search) if search is not None and search.pruner else None


class PrunerJudge:
    """Tells after each measurement whether the pruner ends a run.

    Args:
        spec: The run.
        runs_root: The folder of all studies.
        search: The search, with a pruner.

    Attributes:
        is_pruned: Whether the run has been ended.
    """

    def __init__(self, spec: RunSpec, runs_root: Path, search: SearchConfig) -> None:
        self._spec, self._root, self._search = spec, runs_root, search
        self._folder = runs_root / spec.study
        self.is_pruned = False

    def is_over(self) -> bool:
        """Whether this or another process has ended the run or its point."""
        runs = StudyRecord.read(self._folder).runs
        return self._spec.label in pruned_points(self._folder, self._search, runs)

    def ends(self, run: RunDir, measured: Measured) -> bool:
        """Tell whether the pruner ends the run, and mark it."""
        why = self._why(run, measured)
        if why:
            why = f"at {measured.step / self._spec.config.training.steps:.0%} of the training {why}"
            mark = PrunedMark(
                self._spec.study, str(self._search.pruner), why, measured.step, measured.seconds
            )
            run.prune(mark)
            self.is_pruned = True
        return self.is_pruned

    def _why(self, run: RunDir, measured: Measured) -> str:
        """Return why the run is ended; empty: it is not."""
        others = list(self._others())
        ended = pruned_runs(self._folder, self._search, StudyRecord.read(self._folder).runs)
        for other, directory in others:
            if other.label == self._spec.label and other.id in ended and not directory.is_done:
                return f"another seed of its point was pruned ({other.name})"
        ours = self._probed(self._spec, run)
        if len(ours.values) < measured.number:
            return ""  # an earlier measurement is missing, as they were asked for later
        suite = current_fingerprint(suite_of(self._spec))
        rivals = [
            self._probed(other, directory, like=ours.fingerprint, suite=suite)
            for other, directory in others
            if other.seed == self._spec.seed and other.evaluation == self._spec.evaluation
        ]
        return why_pruned(str(self._search.pruner), ours, [one for one in rivals if one.values])

    def _others(self) -> Iterator[tuple[RunSpec, RunDir]]:
        """Yield the other searched runs of the study, equal ones once."""
        seen = {self._spec.id}
        for planned in StudyRecord.read(self._folder).runs:
            if planned.spec.params and planned.spec.id not in seen:
                seen.add(planned.spec.id)
                yield planned.spec, RunDir(self._root / planned.directory)

    def _probed(self, spec: RunSpec, run: RunDir, *, like: str = "", suite: str = "") -> Probed:
        """Return what was measured of a run, up to the first that is missing, or not of the same data.

        Args:
            spec: The run.
            run: Its directory.
            like: Fingerprint of what must have been measured; empty: that of its first measurement.
            suite: Fingerprint of what a complete run must have been tested on; empty: what it was tested on
                last.
        """
        found = _measured(spec, run)
        like = like or (found[0].fingerprint if found else "")
        numbered = takewhile(
            lambda at: (at[0], at[1].fingerprint) == (at[1].number, like), enumerate(found, 1)
        )
        first = [one for _, one in numbered]
        complete = run.scores_of(suite) if run.is_done else None
        return Probed(
            spec.name,
            [one.mean for one in first],
            None if complete is None else Objective(self._search.metrics[0]).value(complete),
            lambda number: _outcomes(run.path / first[number].folder),
            like,
        )


def _measured(spec: RunSpec, run: RunDir) -> list[Measured]:
    during = spec.evaluation.during
    return [one for one in run.curve() if during is not None and one.tasks == tuple(during.tasks)]


def _outcomes(folder: Path) -> dict[str, float]:
    """Return test item -> its outcome, the mean over the tasks that show it."""
    found: dict[str, list[float]] = {}
    for score in Scores.read(folder).primary().values():
        with np.load(folder / score.per_sample) as arrays:
            units = arrays["units"] if "units" in arrays else arrays["items"]
            for unit, value in zip(units, arrays["values"], strict=True):
                found.setdefault(str(unit), []).append(float(value))
    return {unit: fmean(values) for unit, values in found.items()}


def why_pruned(pruner: str, ours: Probed, others: Sequence[Probed]) -> str:
    """Return why a run is ended where it was measured last; empty: it is not.

    Args:
        pruner: `SearchConfig.pruner`.
        ours: The run.
        others: Runs of the same seed of other points.
    """
    import optuna

    said = f"it scores {100 * ours.values[-1]:.1f}"
    if pruner == "median":
        median = optuna.pruners.MedianPruner(n_startup_trials=STARTUP)
        is_bad = _should_prune(median, ours, others)
        return f"{said}, below the median of the complete points" if is_bad else ""
    if pruner == "halving":
        halving = optuna.pruners.SuccessiveHalvingPruner(min_resource=1, reduction_factor=2)
        is_bad = _should_prune(halving, ours, others)
        return f"{said}, not in the better half of the points that came as far" if is_bad else ""
    number = len(ours.values) - 1
    complete = [one for one in others if one.score is not None and len(one.values) > number]
    best = max(complete, key=lambda one: one.score or 0.0, default=None)
    if best is None or not _is_worse(ours.outcomes(number), best.outcomes(number)):
        return ""
    return f"{said}, worse on its test items than the best so far, {best.name}"


def _should_prune(pruner: optuna.pruners.BasePruner, ours: Probed, others: Sequence[Probed]) -> bool:
    study = _study(pruner)
    for other in others:
        trial, _ = _report(study, other.values)
        if other.score is not None:
            study.tell(trial, other.score)
    return _report(study, ours.values)[1]


def _report(study: optuna.Study, values: Sequence[float]) -> tuple[optuna.Trial, bool]:
    trial, is_bad = study.ask(), False
    for number, value in enumerate(values):
        trial.report(value, 2**number)  # halving asks at the steps 1, 2, 4, ...
        is_bad = trial.should_prune()
    return trial, is_bad


def _is_worse(ours: Mapping[str, float], best: Mapping[str, float]) -> bool:
    """Tell whether items that both have say that we are worse, by Wilcoxon's signed-rank test."""
    import optuna
    from optuna.trial import TrialState, create_trial

    both = sorted(ours.keys() & best.keys())
    known = {number: best[item] for number, item in enumerate(both)}
    mine = {number: ours[item] for number, item in enumerate(both)}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of what Optuna calls experimental
        pruner = optuna.pruners.WilcoxonPruner(p_threshold=ALPHA)
        study = _study(pruner)
        study.add_trial(create_trial(value=1.0, intermediate_values=known))
        return bool(pruner.prune(study, create_trial(state=TrialState.RUNNING, intermediate_values=mine)))


def _study(pruner: optuna.pruners.BasePruner) -> optuna.Study:
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    sampler = optuna.samplers.RandomSampler(0)
    return optuna.create_study(direction="maximize", pruner=pruner, sampler=sampler)
