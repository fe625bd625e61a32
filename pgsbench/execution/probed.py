"""What the probes of a run gave, read back from its directory."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean

import numpy as np

from pgsbench.config.search import SearchConfig
from pgsbench.errors import EvaluationError
from pgsbench.hashing import digest
from pgsbench.records import files
from pgsbench.records.run_spec import RunSpec
from pgsbench.records.scores import Scores
from pgsbench.study.objective import Objective
from pgsbench.tracking.rundir import RunDir


@dataclass(frozen=True)
class Probed:
    """A searched run, as far as a pruner looks at it.

    Attributes:
        name: `RunSpec.name`.
        values: Its value at each probe so far, the first one first.
        score: What is searched, where the run is complete.
        outcomes: From the number of a probe to test item -> outcome.
        fingerprint: Of the suite that was measured.
    """

    name: str
    values: Sequence[float]
    score: float | None = None
    outcomes: Callable[[int], Mapping[str, float]] = lambda _: {}
    fingerprint: str = ""


def probe_values(run: RunDir, search: SearchConfig) -> dict[int, float]:
    """Return what the probes of a run gave so far: percent of the training -> mean of the groups."""
    found = {round(100 * share): _scores(run, search, share) for share in shares_of(search)}
    return {percent: _value(scores) for percent, scores in found.items() if scores is not None}


def probed(
    spec: RunSpec,
    run: RunDir,
    search: SearchConfig,
    *,
    until: float = 1.0,
    like: str = "",
    suite: str = "",
) -> Probed:
    """Return what the probes of a run gave, up to the first one that is missing, or not of the same data.

    Args:
        spec: The run.
        run: Its directory.
        search: The search, with a probe.
        until: The last share that counts.
        like: Fingerprint of what must have been measured; empty: that of its first probe.
        suite: Fingerprint of what a complete run must have been tested on; empty: what it was tested on last.
    """
    found: list[Scores] = []
    for share in [one for one in shares_of(search) if one <= until]:
        scores = _scores(run, search, share)
        like = like or (scores.suite_fingerprint if scores is not None else "")
        if scores is None or scores.suite_fingerprint != like:
            break
        found.append(scores)
    complete = run.scores_of(suite) if run.is_done else None
    return Probed(
        spec.name,
        [_value(scores) for scores in found],
        None if complete is None else Objective(search.metrics[0]).value(complete),
        lambda number: _outcomes(probe_folder(run, search, shares_of(search)[number]), found[number]),
        like,
    )


def shares_of(search: SearchConfig) -> list[float]:
    """Return after which shares of a training its probes are."""
    assert search.probe is not None
    return search.probe.at


def probe_folder(run: RunDir, search: SearchConfig, share: float) -> Path:
    """Return where a probe lies; another part of the suite, or another share, has a folder of its own."""
    assert search.probe is not None
    return run.path / files.PROBES / f"{share:g}-{digest(search.probe.tasks)[:8]}"


def _scores(run: RunDir, search: SearchConfig, share: float) -> Scores | None:
    with suppress(EvaluationError):
        return Scores.read(probe_folder(run, search, share))
    return None


def _value(scores: Scores) -> float:
    return fmean(group.value for group in scores.groups.values())


def _outcomes(folder: Path, scores: Scores) -> dict[str, float]:
    """Return test item -> its outcome, the mean over the tasks that show it."""
    found: dict[str, list[float]] = {}
    for score in scores.primary().values():
        with np.load(folder / score.per_sample) as arrays:
            units = arrays["units"] if "units" in arrays else arrays["items"]
            for unit, value in zip(units, arrays["values"], strict=True):
                found.setdefault(str(unit), []).append(float(value))
    return {unit: fmean(values) for unit, values in found.items()}
