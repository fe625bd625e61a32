"""A study before and while it runs, as frames and tables: its plan, its state, what it deviates in."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import pandas as pd

from pgsbench.progress import about, clock
from pgsbench.reporting.render import COUNT, Format, Header, Table, counted
from pgsbench.study.published import Compared, compare_with_published
from pgsbench.tracking.states import STATES, RunStatus

if TYPE_CHECKING:
    from pgsbench.config.schema import RunConfig
    from pgsbench.execution.estimate import Cost
    from pgsbench.models.step_memory import StepMemory
    from pgsbench.records.run_spec import RunSpec
    from pgsbench.study.design import Design

#: Column of the frame -> column of the table.
_PLAN: dict[str, str | tuple[str, Format]] = {
    "run": "run",
    "dropped": ("dropped", Format("{:.2f}")),
    "steps": ("steps", COUNT),
    "samples": ("samples", COUNT),
    "patch_tokens": ("patch tokens", Format("{:,.0f}")),
    "text_tokens": ("text tokens", COUNT),
    "flops": ("TFLOP", Format("{:,.1f}", scale=1e-12)),
    "minutes": ("minutes", Format("{:.1f}")),
    "state": "state",
}

#: State of a run whose values are not known yet.
TO_CHOOSE = "to choose"

_DEVIATIONS = ("setting", "here", "published", "why", "arms", "source")

_SOURCES = (
    "script: clip-train.sh of github.com/clip-pgs/CLIP-PGS; default: what its training/params.py takes where "
    "the script says nothing; open_clip: what that leaves to open_clip."
)


def plan_frame(rows: Sequence[tuple[RunSpec, Cost, str]], devices: Sequence[str]) -> pd.DataFrame:
    """Return one row a run, with its cost; see `Cost`.

    Args:
        rows: The plan: each run, what it will cost, and whether it is to be trained.
        devices: Of the slots in which runs are trained; kept as ``frame.attrs["devices"]``.
    """
    frame = pd.DataFrame(
        [
            {
                "run": spec.name,
                "id": spec.id,
                "dropped": cost.dropped,
                "steps": spec.config.training.steps,
                "samples": cost.samples,
                "patch_tokens": cost.patch_tokens,
                "text_tokens": cost.text_tokens,
                "flops": cost.flops,
                "minutes": (cost.train_seconds or 0.0) / 60,
                "state": state,
            }
            for spec, cost, state in rows
        ]
    )
    frame.attrs["devices"] = list(devices)
    whole = sum(spec.config.training.steps * spec.config.training.batch_size for spec, _, _ in rows)
    frame.attrs["shared"] = whole - sum(cost.samples for _, cost, _ in rows)
    return frame


def with_tuning(before: pd.DataFrame, plan: pd.DataFrame, *, is_chosen: bool) -> pd.DataFrame:
    """Return a plan with the runs that tune its arms first.

    Args:
        before: Their plan.
        plan: That of the runs that are compared.
        is_chosen: Whether the values of these are known.
    """
    before = before.assign(run="tuning " + before["run"])
    both = pd.concat([before, plan if is_chosen else plan.assign(state=TO_CHOOSE)], ignore_index=True)
    both.attrs = plan.attrs
    return both


def plan_table(study: str, frame: pd.DataFrame) -> Table:
    """Return a plan as a table."""
    missing = frame[frame["state"] != "exists"]
    devices = frame.attrs["devices"]
    rows = [list(row) for row in frame[list(_PLAN)].astype(object).itertuples(index=False)]
    notes = [
        f"{counted(len(frame), 'run')}, {len(missing)} to train: {missing['samples'].sum():,} samples, "
        f"{missing['patch_tokens'].sum():,.0f} patch tokens, {missing['text_tokens'].sum():,} text tokens.",
        "TFLOP: matrix products of both towers, forward and backward, in 10^12 operations.",
        f"{about(60 * missing['minutes'].sum() / len(devices)).capitalize()} of training, "
        f"{counted(len(devices), 'run')} at a time on {', '.join(dict.fromkeys(devices))}: estimated from a "
        "few steps just now, for free cores, without reading data and evaluation.",
    ]
    if shared := frame.attrs["shared"]:
        share = shared / (shared + missing["samples"].sum())
        notes.append(
            f"What begins at a step goes on from another length: {shared:,} samples less ({share:.0%})."
        )
    if (frame["state"] == TO_CHOOSE).any():
        notes.append("Values to choose are not known yet: such runs have the arm's, or the space's middle.")
    return Table(f"Plan of {study}", list(_PLAN.values()), rows, notes)


def status_frame(runs: Sequence[RunStatus]) -> pd.DataFrame:
    """Return a study's runs as rows; see `RunStatus`."""
    return pd.DataFrame([asdict(run) for run in runs])


def status_table(study: str, runs: Sequence[RunStatus]) -> Table:
    """Return a table of a study's runs: state, host or job, step, speed, time left, why it failed."""
    counts = Counter(run.state for run in runs)
    title = ", ".join(f"{counts[state]} {state}" for state in STATES if counts[state])
    rows: list[list[object]] = []
    for run in runs:
        speed = "" if run.samples_per_second is None else run.samples_per_second
        left = "" if run.seconds_left is None else run.seconds_left
        place = " ".join(part for part in (run.host, f"job {run.job}" if run.job else "") if part)
        rows.append([run.id, run.name, run.state, place, f"{run.step}/{run.steps}", speed, left])
    notes = [f"{run.name}: {run.why}{f' ({run.log})' if run.log else ''}" for run in runs if run.why]
    numbers = [("speed", Format("{:.0f}/s")), ("left", Format(clock))]
    header: Header = ["id", "run", "state", "where", "step", *numbers]
    return Table(f"{study}: {title or 'nothing is planned'}", header, rows, notes)


def deviation_frame(file: Design) -> pd.DataFrame:
    """Return one row for each setting of a study that is not the published one.

    Columns: setting, here, published, why (None where the study does not explain it), arms (names, joined by
    commas) and source. ``frame.attrs["notes"]`` says what was compared.
    """
    found = compare_with_published(file)

    def whose(arms: tuple[str, ...]) -> str:
        return "all" if len(arms) == len(found.methods) else ", ".join(arms)

    rows = [
        (one.setting, one.here, one.published, one.why, whose(one.arms), one.source)
        for one in found.deviations
    ]
    frame = pd.DataFrame(rows, columns=list(_DEVIATIONS), dtype=object)
    frame.attrs["notes"] = _notes(found)
    return frame


def deviation_table(study: str, frame: pd.DataFrame) -> Table:
    """Return the frame as a table."""
    rows: list[list[object]] = [
        [
            *(one["setting"], _shown(one["here"]), _shown(one["published"])),
            *(one["why"] or "NOT EXPLAINED", one["arms"], one["source"]),
        ]
        for one in frame.to_dict("records")
    ]
    title = f"How {study} deviates from the published setting of CLIP-PGS (arXiv 2503.17080)"
    return Table(title, [*_DEVIATIONS], rows, frame.attrs["notes"])


def _shown(value: Any) -> str:
    if isinstance(value, str):
        return value
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else json.dumps(value)


def _notes(found: Compared) -> list[str]:
    unexplained = sum(one.why is None for one in found.deviations)
    total = counted(len(found.deviations), "deviation")
    notes = [f"{total}, {unexplained} not explained." if found.deviations else "Nothing deviates."]
    methods = {arm: method for arm, method in found.methods.items() if method}
    if methods:
        pairs = ", ".join(
            arm if arm == one.name else f"{arm} with {one.name}" for arm, one in methods.items()
        )
        notes.append(f"Compared with the method of the paper: {pairs}.")
    others = [arm for arm in found.methods if arm not in methods]
    if others:
        notes.append(f"No method of the paper masks so, so masks are not compared: {', '.join(others)}.")
    notes.append(_SOURCES)
    left = dict.fromkeys((method.settings["strategy.name"].value, method.open) for method in methods.values())
    notes += [
        f"Left open in what is published, so not compared, of {name}: {', '.join(paths)}."
        for name, paths in left
        if paths
    ]
    beyond: dict[str, list[str]] = {}
    for arm, method in methods.items():
        if method.beyond:
            beyond.setdefault(method.beyond, []).append(arm)
    return notes + [f"Beyond settings ({', '.join(arms)}): {said}" for said, arms in beyond.items()]


# ------------------------------------------------------------------------------------- what it will cost

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
