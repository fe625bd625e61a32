"""What a report rests on, small enough to be committed beside it: its numbers follow from this alone.

``evidence.json`` has the study's record and what each run is, cost and logged; ``outcomes.npz`` has the
outcome of every test item, a bit each where it is right or wrong. No score is in either: scores and intervals
are made from the outcomes again. Both are unpacked into run directories, for all that reads these.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from pydantic_core import to_jsonable_python

from pgsbench.disk.whole_files import UNREADABLE, atomic
from pgsbench.errors import EvaluationError, RunError, StudyError
from pgsbench.records import files
from pgsbench.records.json_files import finite, read_record, write_record
from pgsbench.records.run_records import Environment, Measured, PrunedMark, Summary
from pgsbench.records.scores import GroupMean, Score, Scores
from pgsbench.records.study_record import StudyRecord
from pgsbench.reporting.recipe_spread import LENT
from pgsbench.reporting.statistics.paired_values import SeedSpread
from pgsbench.reporting.study_frames import Frames, PlannedRun
from pgsbench.tracking.rundir import RunDir
from pgsbench.tracking.states import pruned_runs

if TYPE_CHECKING:
    from pgsbench.evaluation.protocols.base import Measurement

EVIDENCE, OUTCOMES = "evidence.json", "outcomes.npz"

#: Of what a training logs, what reports tell.
_OBJECTS = ("objects_kept", "insides_kept", "outlines_kept", "objects_nearly_gone")
_LOGGED = ("step", "samples", "loss", *(f"mask/{what}" for what in _OBJECTS))


@dataclass(frozen=True)
class KeptMetric:
    """A metric of a task, and the test items of it; shared by all runs that were tested alike.

    Attributes:
        task: As in `Score`, as is what follows up to `version`.
        items: Number of the array with the names of its test items.
        units: Likewise of their units (`Measurement.units`).
        strata: Likewise of their classes; None: it is no mean over classes.
    """

    task: str
    group: str
    protocol: str
    metric: str
    chance: float
    primary: bool
    version: int
    items: int
    units: int
    strata: int | None


@dataclass(frozen=True)
class KeptScore:
    """What a run has of a metric.

    Attributes:
        metric: Number of the `KeptMetric`.
        row: Its row among the outcomes of that metric.
        num_ties: As in `Score`, as are the others.
    """

    metric: int
    row: int
    num_ties: int = 0
    notes: tuple[str, ...] = ()
    details: str = ""


@dataclass(frozen=True)
class KeptRun:
    """A run that is on disk; see `PlannedRun`. What it logged is by column, a value for each line.

    `curve` has its scores on the way.
    """

    done: bool
    environment: Environment | None
    summary: Summary | None
    metrics: dict[str, list[Any]]
    suite: str = ""
    suite_version: int = 0
    suite_fingerprint: str = ""
    scores: tuple[KeptScore, ...] = ()
    curve: tuple[Measured, ...] = ()


@dataclass(frozen=True)
class Evidence:
    """What a report rests on, but for the outcomes.

    Attributes:
        record: The study.
        candidate: What the report is about.
        baselines: What that is compared with.
        metrics: All metrics of all runs.
        runs: Directory relative to the runs folder -> what is there.
        pruned: Directory of a run -> why it was ended.
        lent: Group or task -> the fields of the `SeedSpread` that was borrowed for it.
    """

    record: StudyRecord
    candidate: str
    baselines: tuple[str, ...]
    metrics: tuple[KeptMetric, ...]
    runs: dict[str, KeptRun]
    pruned: dict[str, PrunedMark] = field(default_factory=dict)
    lent: dict[str, dict[str, Any]] = field(default_factory=dict)

    @classmethod
    def read(cls, folder: Path) -> Evidence:
        """Return the evidence in a report's folder.

        Raises:
            StudyError: There is none, or it is damaged.
        """
        found = read_record(folder / EVIDENCE, cls, StudyError)
        if found is None:
            rule = f"there is no evidence for a report here ({EVIDENCE})"
            raise StudyError(rule, where=str(folder), way_out="name a folder that a report was written to")
        return found


def has_evidence(folder: str | Path) -> bool:
    """Tell whether a name is that of a report's folder with evidence."""
    return (Path(folder) / EVIDENCE).is_file()


def write_evidence(
    study: Frames,
    candidate: str,
    baselines: list[str],
    lent: Mapping[str, SeedSpread],
    out: Path,
) -> None:
    """Write what the report of a study rests on beside it, into the folder `out`."""
    packer = _Packer()
    planned = {study.folder.parent / run.directory: run.directory for run in study.record.runs}
    runs = {planned[run.path]: packer.run(run) for run in study.runs if RunDir(run.path).exists}
    ended = pruned_runs(study.folder, study.record.config.search, study.record.runs)
    pruned = {run.directory: mark for run, mark in ended.values()}
    metrics = tuple(packer.metrics)
    evidence = Evidence(study.record, candidate, tuple(baselines), metrics, runs, pruned, _fields(lent))
    with atomic(out / EVIDENCE) as scratch:  # on one line: it is no page for people
        said = json.dumps(finite(to_jsonable_python(evidence)), separators=(",", ":"), ensure_ascii=False)
        scratch.write_text(said + "\n", encoding="utf-8")
    with atomic(out / OUTCOMES) as scratch, scratch.open("wb") as file:
        np.savez_compressed(file, **packer.arrays())


def _fields(lent: Mapping[str, SeedSpread]) -> dict[str, dict[str, Any]]:
    return {of: {**vars(spread), "variance": float(spread.variance)} for of, spread in lent.items()}


class _Packer:
    """Collects outcomes: names of items once, and the rows of each metric together."""

    def __init__(self) -> None:
        self.metrics: dict[KeptMetric, list[NDArray[Any]]] = {}
        self._shared: dict[bytes, int] = {}

    def run(self, run: PlannedRun) -> KeptRun:
        from pgsbench.evaluation.task_results import outcomes_of  # late: it takes PyTorch

        lines = RunDir(run.path).metrics()
        columns = {key: [line.get(key) for line in lines] for key in _LOGGED}
        logged = {key: column for key, column in columns.items() if set(column) - {None}}
        scores, kept = run.scores, []
        for score in scores.scores if scores else ():
            if not score.per_sample:
                continue
            try:
                kept.append(self._score(score, outcomes_of(run.path, score)))
            except (*UNREADABLE, EvaluationError) as error:
                rule = f"the outcomes of {score.task}/{score.metric} cannot be read ({error})"
                way_out = "repeat the study's command: they are measured again"
                raise RunError(rule, where=str(run.path), way_out=way_out) from error
        said = (scores.suite, scores.suite_version, scores.suite_fingerprint) if scores else ("", 0, "")
        done, curve = RunDir(run.path).is_done, tuple(RunDir(run.path).curve())
        return KeptRun(done, run.environment, run.summary, logged, *said, tuple(kept), curve)

    def _score(self, score: Score, m: Measurement) -> KeptScore:
        items = self._number(_as_bytes(m.items))
        units = items if m.units is None else self._number(_as_bytes(m.units))
        strata = None if m.strata is None else self._number(m.strata.astype("<i8").tobytes())
        said = (score.task, score.group, score.protocol, score.metric, score.chance, score.primary)
        metric = KeptMetric(*said, score.version, items, units, strata)
        rows = self.metrics.setdefault(metric, [])
        rows.append(np.asarray(m.correct, np.float64))
        number = list(self.metrics).index(metric)
        return KeptScore(number, len(rows) - 1, score.num_ties, tuple(score.notes), score.details)

    def _number(self, content: bytes) -> int:
        return self._shared.setdefault(content, len(self._shared))

    def arrays(self) -> dict[str, Any]:
        """Return what is written: ``shared-N``, and ``outcomes-N``, (runs, items), as bits where they are."""
        found: dict[str, Any] = {
            f"shared-{i}": np.frombuffer(one, np.uint8) for one, i in self._shared.items()
        }
        for number, rows in enumerate(self.metrics.values()):
            together = np.stack(rows)
            are_bits = bool(np.isin(together, (0, 1)).all())
            found[f"outcomes-{number}"] = np.packbits(together == 1, axis=1) if are_bits else together
        return found


def _as_bytes(names: Any) -> bytes:
    return "\0".join(names).encode()


@contextmanager
def unpacked(folder: Path) -> Iterator[tuple[Path, Evidence]]:
    """Hand out the folder of a study, as under ``runs/``, that is made from a report's evidence.

    Args:
        folder: The folder of the report.

    Raises:
        StudyError: There is no evidence, or it is damaged.
    """
    evidence = Evidence.read(folder)
    try:
        with np.load(folder / OUTCOMES, allow_pickle=False) as arrays:
            outcomes = dict(arrays)
    except UNREADABLE as error:
        raise StudyError(f"outcomes cannot be read ({error})", where=str(folder / OUTCOMES)) from error
    with TemporaryDirectory() as scratch:
        study = Path(scratch) / evidence.record.config.name
        evidence.record.write(study)
        (Path(scratch) / LENT).write_text(json.dumps(evidence.lent), encoding="utf-8")
        for directory, mark in evidence.pruned.items():
            RunDir(Path(scratch) / directory).prune(mark)
        for planned in evidence.record.runs:
            if (kept := evidence.runs.get(planned.directory)) is not None:
                run = RunDir(Path(scratch) / planned.directory)
                write_record(run.path / files.SPEC, planned.spec)
                try:
                    _unpack(run, kept, evidence, outcomes)
                except (*UNREADABLE, IndexError, EvaluationError) as error:
                    rule = f"the outcomes of {planned.spec.name} do not fit ({error})"
                    raise StudyError(rule, where=str(folder / OUTCOMES)) from error
        yield study, evidence


def _unpack(run: RunDir, kept: KeptRun, evidence: Evidence, outcomes: Mapping[str, NDArray[Any]]) -> None:
    from pgsbench.evaluation.task_results import write_outcomes

    for line in zip(*kept.metrics.values(), strict=True):
        logged = zip(kept.metrics, line, strict=True)
        run.append_metrics({key: value for key, value in logged if value is not None})
    for one in kept.curve:
        run.append_curve(one)
    if kept.environment is not None:
        run.write_environment(kept.environment)
    if kept.summary is not None:
        run.write_summary(kept.summary)
    measured = [(evidence.metrics[one.metric], _measurement(one, evidence, outcomes)) for one in kept.scores]
    if measured:
        scores = [_scored(metric, m) for metric, m in measured]
        for number, (score, (_, m)) in enumerate(zip(scores, measured, strict=True)):
            if score.primary:
                scores[number] = score = replace(score, per_sample=f"outcomes/{number}.npz")
                write_outcomes(run.path / score.per_sample, m, "")
        said = (kept.suite, kept.suite_version, kept.suite_fingerprint, "", tuple(scores))
        Scores(*said, _groups(measured), 0, 0, {}, (), {}, {}, {}, {}).write(run.path)
    if kept.done:
        run.mark_done()


def _measurement(kept: KeptScore, evidence: Evidence, outcomes: Mapping[str, NDArray[Any]]) -> Measurement:
    from pgsbench.evaluation.protocols.base import Measurement

    metric = evidence.metrics[kept.metric]
    items, units = (
        outcomes[f"shared-{number}"].tobytes().decode().split("\0") for number in (metric.items, metric.units)
    )
    strata = None
    if metric.strata is not None:
        strata = np.frombuffer(outcomes[f"shared-{metric.strata}"].tobytes(), "<i8")
    row = outcomes[f"outcomes-{kept.metric}"][kept.row]
    correct = np.unpackbits(row, count=len(items)) if row.dtype == np.uint8 else row
    found = Measurement(metric.metric, correct.astype(np.float64), items, metric.chance, units, strata)
    return replace(found, num_ties=kept.num_ties, notes=kept.notes, details=kept.details)


def _scored(metric: KeptMetric, m: Measurement) -> Score:
    from pgsbench.evaluation.scoring import interval

    said = (metric.task, metric.group, metric.protocol, metric.metric, m.value, len(m.items), *interval(m))
    of_metric = (metric.chance, metric.primary, metric.version)
    return Score(*said, *of_metric, num_ties=m.num_ties, notes=list(m.notes), details=m.details)


def _groups(measured: list[tuple[KeptMetric, Measurement]]) -> dict[str, GroupMean]:
    from pgsbench.evaluation.scoring import group_interval

    found = {}
    for group in dict.fromkeys(metric.group for metric, _ in measured):
        of_group = [(metric, m) for metric, m in measured if metric.group == group and metric.primary]
        value = float(np.mean([m.value for _, m in of_group]))
        chance = float(np.mean([metric.chance for metric, _ in of_group]))
        ends, marked = group_interval([m for _, m in of_group]), [one.task for one, m in of_group if m.notes]
        found[group] = GroupMean(value, *ends, len(of_group), chance, marked=tuple(marked))
    return found
