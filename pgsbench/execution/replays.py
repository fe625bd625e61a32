"""What each pruner would have ended of a search with probes that was trained in full."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import get_args

from pgsbench.config.search import Pruner, SearchConfig
from pgsbench.execution.probed import Probed, probed
from pgsbench.records.study_record import StudyRun
from pgsbench.tracking.rundir import RunDir


@dataclass(frozen=True)
class Replay:
    """What one pruner would have done.

    Attributes:
        pruner: `SearchConfig.pruner`.
        ended: The points that it would have ended: label -> why.
        saved_seconds: Training that they would not have had.
        total_seconds: Training of all points.
    """

    pruner: str
    ended: dict[str, str]
    saved_seconds: float
    total_seconds: float


def replays(folder: Path, search: SearchConfig, runs: Sequence[StudyRun]) -> list[Replay]:
    """Return what each pruner would have done, had the points been trained one after the other, as planned.

    Args:
        folder: The study's folder.
        search: Its search.
        runs: Its planned runs; those count that are complete and have all probes.
    """
    if search.probe is None or search.pruner is not None or len(search.metrics) > 1:
        return []
    points: dict[str, list[_Run]] = {}
    for planned in runs:
        spec, run = planned.spec, RunDir(folder.parent / planned.directory)
        seen = probed(spec, run, search) if spec.params else None
        if seen is None or seen.score is None or len(seen.values) < len(search.probe.at):
            continue
        seconds = run.summary.time_on(spec.numerics.device) if run.summary else 0.0
        points.setdefault(spec.label, []).append(_Run(spec.seed, seen, seconds))
    return [_replay(pruner, search.probe.at, points) for pruner in get_args(Pruner)] if points else []


@dataclass(frozen=True)
class _Run:
    seed: int
    probed: Probed
    seconds: float


def _replay(pruner: str, at: Sequence[float], points: dict[str, list[_Run]]) -> Replay:
    from pgsbench.execution.pruners import why_pruned  # it imports Optuna

    before: dict[int, list[Probed]] = defaultdict(list)
    ended: dict[str, str] = {}
    saved = 0.0
    for label, runs in points.items():
        for run in runs:
            if label in ended:  # by another seed
                saved += run.seconds
                continue
            last = run.probed
            for number, share in enumerate(at):
                ours = replace(run.probed, values=run.probed.values[: number + 1], score=None)
                if why := why_pruned(pruner, ours, before[run.seed]):
                    ended[label], last = f"at {share:.0%} of the training {why}", ours
                    saved += (1 - share) * run.seconds
                    break
            before[run.seed].append(last)
    return Replay(pruner, ended, saved, sum(run.seconds for runs in points.values() for run in runs))
