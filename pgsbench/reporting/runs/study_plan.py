"""What a study will cost, label by label, and in what it differs from another one, as tables."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pgsbench.config.schema import RunConfig
from pgsbench.execution.estimate import Cost
from pgsbench.models.step_memory import StepMemory
from pgsbench.reporting.render import COUNT, Format, Header, Table, counted

_PREFIXES = ("", "k", "M", "G", "T", "P", "E", "Z", "Y")


@dataclass(frozen=True)
class Place:
    """Where a study is to be trained.

    Attributes:
        words: What it is.
        device_type: ``cpu`` or ``cuda``.
        runs_at_a_time: How many runs are trained side by side.
        memory_bytes: Of one device; None where that is not known.
    """

    words: str
    device_type: str
    runs_at_a_time: int
    memory_bytes: float | None = None


@dataclass(frozen=True)
class PlannedLabel:
    """The runs of one label.

    Attributes:
        label: Arm and searched values.
        num_runs: How many there are.
        config: Of the first seed.
        cost: Of one run.
        memory: Of one step.
        seconds: Of one run; None where nothing is known of it.
        source: Whence the seconds come.
    """

    label: str
    num_runs: int
    config: RunConfig
    cost: Cost
    memory: StepMemory
    seconds: float | None
    source: str


def plan_tables(study: str, rows: Sequence[PlannedLabel], place: Place) -> list[Table]:
    """Return what runs cost, and what their steps hold in memory."""
    return [_cost_table(study, rows, place), _memory_table(rows, place)]


def scaled(number: float) -> str:
    """Return a number with three digits and a prefix, ``"12.3 G"``."""
    power = 0
    while abs(number) >= 1000 and power < len(_PREFIXES) - 1:
        number, power = number / 1000, power + 1
    digits = 0 if number >= 100 or not power else 1 if number >= 10 else 2
    return f"{number:,.{digits}f} {_PREFIXES[power]}".rstrip()


def _cost_table(study: str, rows: Sequence[PlannedLabel], place: Place) -> Table:
    cells = []
    for row in rows:
        numbers = (row.num_runs, row.config.training.steps, row.cost.samples, row.cost.patch_tokens)
        cells.append([row.label, *numbers, row.cost.text_tokens, row.cost.flops, row.seconds, row.source])
    num_runs = sum(row.num_runs for row in rows)
    known = [row for row in rows if row.seconds is not None]
    seconds = sum(row.num_runs * (row.seconds or 0.0) for row in known) / place.runs_at_a_time
    of_all = "" if len(known) == len(rows) else " for the rows whose time is known"
    samples = sum(row.num_runs * row.cost.samples for row in rows)
    notes = [
        f"{counted(num_runs, 'run')}, {scaled(samples)} samples; about {_time(seconds)}{of_all}, "
        f"{counted(place.runs_at_a_time, 'run')} at a time on {place.words}.",
        "Tokens, FLOP and time are of one run. FLOP: matrix products of both towers, forward and backward.",
        *_sources(rows),
    ]
    counts = [(name, COUNT) for name in ("runs", "steps", "samples")]
    large = [(name, Format(scaled)) for name in ("patch tokens", "text tokens", "FLOP")]
    header: Header = ["arm", *counts, *large, ("time", Format(_time)), "time from"]
    return Table(f"Plan of {study}", header, cells, notes)


def _sources(rows: Sequence[PlannedLabel]) -> list[str]:
    said = {
        "past": "past runs: mean of this study's complete trainings and evaluations on such a device.",
        "steps": "steps timed: a few steps on made-up pictures, for free cores; reading data and "
        "evaluation are not in it.",
        "assumed": "assumed: FLOP by peak and share above, with the forward passes that micro-batches and "
        "gradient checkpointing repeat; reading data and evaluation are not in it.",
    }
    found = {row.source.partition(" ")[0] for row in rows}
    return [text for source, text in said.items() if source in found]


def _memory_table(rows: Sequence[PlannedLabel], place: Place) -> Table:
    fields = ("weights", "gradients", "optimizer", "activations", "peak", "state", "checkpoint")
    cells = [[row.label, *(getattr(row.memory, name) for name in fields)] for row in rows]
    notes = [
        "On each device, by plan, in the phase that needs most: the last one on whole pictures, if any. "
        "peak: the most at a time, as gradients come when activations go.",
        "state, model: a saved state and the trained model on disk.",
    ]
    limit = place.memory_bytes
    too_large = [row.label for row in rows if limit and row.memory.peak and row.memory.peak > limit]
    if limit and too_large:
        said = f"More than the {limit / 2**30:.0f} GiB of a device: {', '.join(too_large)}. A smaller "
        said += "training.micro_batch_size, model.grad_checkpointing or more devices_per_run take less."
        notes = [said, *notes]
    header: Header = ["arm", *((name.replace("checkpoint", "model"), Format(_size)) for name in fields)]
    return Table("Memory of a step", header, cells, notes)


def _time(seconds: float) -> str:
    return f"{seconds / 3600:,.1f} h" if seconds >= 3600 else f"{seconds / 60:,.1f} min"


def _size(number: float) -> str:
    return f"{number / 2**30:,.2f} GiB" if number >= 2**30 else f"{number / 2**20:,.0f} MiB"
