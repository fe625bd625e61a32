"""One run for people in a notebook: what it is, what it scored, its model; and what differs between two."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from pgsbench.data.shards import MORE_READING, MUCH
from pgsbench.errors import RunError, StudyError
from pgsbench.records.kept import kept_folder, parted
from pgsbench.records.run_records import Environment, Summary
from pgsbench.records.run_spec import RunSpec, flatten, short
from pgsbench.records.study_record import Entry
from pgsbench.reporting.notebook import InNotebook, Part
from pgsbench.reporting.render import COUNT, PERCENT, POINTS, Estimate, Format, Header, Table
from pgsbench.reporting.statistics.intervals import Interval, difference
from pgsbench.reporting.statistics.paired_values import PairedValues
from pgsbench.reporting.study_frames import CURVE_COLUMNS, PlannedRun, curve_rows, read_run
from pgsbench.tracking.run_files import find_run
from pgsbench.tracking.rundir import RunDir

if TYPE_CHECKING:
    from pgsbench.models.checkpoint import ReadyModel

_SCORE_COLUMNS = ("task", "group", "metric", "value", "low", "high", "chance", "n", "primary", "notes")


@dataclass(frozen=True)
class Run(InNotebook):
    """A run on disk; made by `load_run`.

    Attributes:
        directory: Its run directory.
    """

    directory: RunDir

    def __repr__(self) -> str:
        return f"Run({self.spec.id!r}, {self.spec.study}/{self.spec.name})"

    def in_notebook(self) -> Iterable[Part]:
        """Return what is known of it as tables."""
        return run_tables(self)

    def __fspath__(self) -> str:
        return str(self.path)

    @property
    def path(self) -> Path:
        """The run directory."""
        return self.directory.path

    @property
    def spec(self) -> RunSpec:
        """What the run is: configuration, data, code, numerics."""
        return self.directory.spec

    @property
    def environment(self) -> Environment | None:
        """Where and when it was trained; None where that is not written yet."""
        return self.directory.environment

    @property
    def summary(self) -> Summary | None:
        """What the training cost and how it ended; None where it has not ended yet."""
        return self.directory.summary

    @property
    def scores(self) -> pd.DataFrame:
        """One row for each metric of each task; values are shares in [0, 1]. Empty before the evaluation."""
        found = self.directory.scores
        rows = [asdict(score) for score in found.scores] if found else []
        return pd.DataFrame(rows, columns=list(_SCORE_COLUMNS))

    @property
    def curves(self) -> pd.DataFrame:
        """The lines that training logged: step, samples, loss, ..."""
        return pd.DataFrame(self.directory.metrics())

    @property
    def score_curve(self) -> pd.DataFrame:
        """Its scores while it was trained: step, samples, seconds, cpu_seconds, flops, task, score."""
        return pd.DataFrame(curve_rows(self.directory), columns=list(CURVE_COLUMNS))

    def model(self, device: str = "cpu", *, kept: str = "") -> ReadyModel:
        """Return the trained model in evaluation mode with its transform and its tokenizer.

        Args:
            device: Where the model lives.
            kept: A checkpoint that it has kept, as ``0.5``, ``epoch-2`` or ``best``; empty: the last one.

        Raises:
            ModelError: The run has no model yet, or it cannot be loaded.
            RunError: It has kept no such checkpoint.
        """
        from pgsbench.models.checkpoint import load, ready

        folder = kept_folder(self.path, kept) if kept else self.directory.checkpoint
        return ready(load(folder, device=device))


def load_run(id_or_path: str | Path, output: str | Path = ".") -> Run:
    """Return a run by its id, by the first characters of its id, or by its directory.

    Args:
        id_or_path: What the run is called.
        output: The folder of ``runs/``.

    Raises:
        RunError: There is no such run, or the characters fit several.
    """
    return Run(find_run(Path(output) / "runs", str(id_or_path)))


def weights_of(name: str, output: str | Path = ".") -> Path:
    """Return the folder of a run's weights: of its last model, or ``RUN@0.5`` of one that it has kept.

    Raises:
        RunError: There is no such run, or it has no such checkpoint.
    """
    run, kept = parted(name)
    directory = load_run(run, output).directory
    found = kept_folder(directory.path, kept) if kept else directory.checkpoint
    if not found.is_dir():
        raise RunError("the run has no model yet", where=str(directory.path))
    return found.resolve()


def run_tables(run: Run) -> list[Table]:
    """Return what is known of a run as tables: its spec, where it was trained, its cost, its scores."""
    spec = run.spec
    what = {"study": spec.study, "arm": spec.label, "evaluation.suite": spec.evaluation.suite}
    header: Header
    tables = [_pairs(f"Run {spec.id}", {**what, **_settings(spec), "directory": str(run.path)})]
    if run.environment:
        tables.append(_pairs("Environment", flatten(vars(run.environment))))
    if run.summary:
        costs = flatten({**asdict(run.summary), "own_seconds": run.summary.own_seconds}).items()
        header = ["what", ("value", Format(_measured))]
        waited = run.summary.wait_share or 0.0
        notes = [f"Steps waited for data {waited:.0%} of the time: {MORE_READING}."] if waited > MUCH else []
        tables.append(Table("Cost", header, [[*pair] for pair in costs if pair[1] not in (None, "")], notes))
    if scores := run.directory.scores:
        rows = [
            [one.task, one.metric, Estimate(one.value, one.low, one.high), one.chance, one.n]
            for one in scores.primary().values()
        ]
        header = ["task", "metric", ("score", PERCENT), ("chance", PERCENT), ("n", COUNT)]
        tables.append(Table("Scores (percent)", header, rows))
    return tables


def diff_tables(ours: Run, theirs: Run) -> list[Table]:
    """Return what differs between two runs as tables: settings, and scores with their paired difference."""
    names = [f"{run.spec.id} ({run.spec.name})" for run in (ours, theirs)]
    rows = [[path, *map(short, values)] for path, *values in settings_that_differ(ours, theirs)]
    notes = [] if rows else ["Nothing differs: the same training twice."]
    tables = [Table("Settings that differ", ["setting", *names], rows, notes)]
    both = [_read(run) for run in (ours, theirs)]
    sides = [run.scores.primary() if run.scores else {} for run in both]
    cells: list[list[object]] = []
    for task in dict.fromkeys([*sides[0], *sides[1]]):
        found = [side.get(task) for side in sides]
        values = [score.value if score else None for score in found]
        cells.append([task, next(one.metric for one in found if one), *values, _paired(both, task)])
    notes = ["Percent; the difference in points, paired by test item, with its 95 % interval."]
    notes.append("The interval covers test items only: it speaks of these two training runs only.")
    ids = [(run.spec.id, PERCENT) for run in (ours, theirs)]
    header: Header = ["task", "metric", *ids, ("difference", POINTS)]
    return [*tables, Table("Scores", header, cells, notes)] if cells else tables


def settings_that_differ(ours: Run, theirs: Run) -> list[tuple[str, Any, Any]]:
    """Return (setting, ours, theirs) for each that is not the same in the specs of two runs.

    Settings are dotted paths of the configuration, and data, order, code and numerics.
    """
    both = [_settings(run.spec) for run in (ours, theirs)]
    known = dict.fromkeys([*both[0], *both[1]])
    # A section that one of them lacks stands there by its settings.
    paths = [path for path in known if not any(other.startswith(f"{path}.") for other in known)]
    rows = [(path, *(side.get(path, "not set") for side in both)) for path in paths]
    return [(path, one, other) for path, one, other in rows if one != other]


def _settings(spec: RunSpec) -> dict[str, Any]:
    """Return all that decides a run by dotted path; code that is not built in has its hash under ``code``."""
    flat = flatten({**spec.training, "numerics": vars(spec.numerics)})
    flat |= {"model.name": spec.config.model.name, "strategy.name": spec.config.strategy.name}
    if spec.strategy_code != spec.config.strategy.name:
        flat["strategy.code"] = spec.strategy_code
    if spec.text_code != spec.config.text.strategy:
        flat |= {"text.strategy": spec.config.text.strategy, "text.code": spec.text_code}
    if spec.model_file:
        flat["model.file"] = spec.model_file
    return flat


def _measured(value: object) -> str:
    if not isinstance(value, int | float) or isinstance(value, bool):
        return str(value)
    return f"{value:.4g}" if isinstance(value, float) and abs(value) < 1000 else f"{value:,.0f}"


def _read(run: Run) -> PlannedRun:
    return read_run(run.path.parent, Entry(run.spec, run.path.name))


def _paired(both: list[PlannedRun], task: str) -> Interval | str:
    """Return the difference of two runs on a task; words where there is none."""
    values = {name: {0: run.values} for name, run in zip(("ours", "theirs"), both, strict=True)}
    try:
        return difference(PairedValues.build(values, {task: 1.0}, list(values)), "ours", "theirs")
    except StudyError as error:  # other items, or a task that one of them has not seen
        return error.rule


def _pairs(title: str, values: dict[str, Any]) -> Table:
    rows = [[name, short(value)] for name, value in values.items() if value not in (None, "")]
    return Table(title, ["what", "value"], rows)
