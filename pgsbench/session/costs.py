"""What a study will cost, before anything of it runs: steps, tokens, operations, memory, time.

No data is needed. Times come from a few steps on this machine; for a machine that is elsewhere from a table.
Each row says from which.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from pgsbench.config.schema import RunConfig
from pgsbench.data.shards import MAX_READERS, augmentation, num_readers, reader_pace, told_of_reading
from pgsbench.devices import usable_cores
from pgsbench.errors import ConfigError, nearest
from pgsbench.execution.engine import Slots, plan_slots
from pgsbench.execution.estimate import Estimator, cost_of
from pgsbench.execution.kept_times import KeptTimes
from pgsbench.execution.ledger import Ledger
from pgsbench.models.clip import build
from pgsbench.models.pair_cost import pair_costs
from pgsbench.models.step_memory import step_memory
from pgsbench.records.run_spec import RunSpec, label_of
from pgsbench.reporting.plan_tables import (
    TO_CHOOSE,
    Place,
    PlannedLabel,
    plan_frame,
    plan_tables,
)
from pgsbench.reporting.render import Table, counted
from pgsbench.study.budget import PairSeconds, spend
from pgsbench.study.design import Design
from pgsbench.study.plan import Point, reference_arms, searched_points
from pgsbench.training.trunk import first_step

if TYPE_CHECKING:
    import pandas as pd


def plan(design: Design, *, device: str = "auto", output: str | Path = ".") -> list[Table]:
    """Return what a study will cost as tables: its runs by label, and the memory of a step.

    Args:
        design: The study.
        device: As of `open_study`, which is timed; or devices of the table, such as ``H100x8``.
        output: The folder of ``runs/``.

    Raises:
        UserError: There is no such device, or a model cannot be built.
    """
    place, duration = _place(design, device, Path(output) / "runs")
    rows = []
    for what, study, point, count in _points(design):
        config, seconds, source = duration(study.run_config(point.arm, point.params, study.config.seeds[0]))
        memory = step_memory(config, device_type=place.device_type, num_devices=design.config.devices_per_run)
        label = what + label_of(point.arm, point.params)
        rows.append(PlannedLabel(label, count, config, cost_of(config), memory, seconds, source))
    tables = plan_tables(design.config.name, rows, place)
    paces = [row.cost.samples / row.seconds for row in rows if row.seconds]
    if paces and augmentation(design.config.data) is not None:
        told = _told_of_reading(max(paces) / design.config.devices_per_run, rows[0].config, device)
        tables[0] = replace(tables[0], notes=[*tables[0].notes, told])
    return tables


def _told_of_reading(pairs_per_second: float, config: RunConfig, device: str) -> str:
    data = config.data
    clip = build(config.model.name, seed=0, image_size=config.model.image_size, device="meta")
    here = MAX_READERS if machine_named(device) else num_readers()
    pace = reader_pace(data, clip.image_size, clip.tokenize)
    return told_of_reading(
        pairs_per_second, data, here if data.workers is None else max(1, data.workers), pace
    )


#: A configuration without its seed -> the same with its samples, seconds of a run, and whence they come.
_Duration = Callable[[RunConfig], tuple[RunConfig, float | None, str]]


def _place(design: Design, device: str, runs_root: Path) -> tuple[Place, _Duration]:
    together, name = design.config.devices_per_run, design.config.name
    machine = machine_named(device)
    if machine is not None:
        return _elsewhere(machine, together)
    slots = plan_slots(device=device, devices_per_run=together)
    folder = runs_root / name
    kept = KeptTimes(folder, slots)
    estimator = Estimator(slots.first_device, threads=slots.threads)
    sharing = min(together, usable_cores() // slots.threads) if slots.device_type == "cpu" else together

    def duration(config: RunConfig) -> tuple[RunConfig, float | None, str]:
        config = spend(config, kept)
        is_kept = config.budget is not None and config.budget.equal == "seconds"
        timed = (kept if is_kept else estimator.seconds)(config)
        return config, (cost_of(config, timed).train_seconds or 0.0) / max(1, sharing), "steps timed"

    threads = f", {counted(slots.threads, 'CPU thread')} each" if slots.device_type == "cpu" else ""
    words = f"this machine ({slots.first_device}{threads})"
    return Place(words, slots.device_type, len(slots.devices)), duration


def _elsewhere(machine: Machine, together: int) -> tuple[Place, _Duration]:
    if machine.count < together:
        raise ConfigError(
            f"a run of this study is trained by {together} devices",
            where="--device",
            value=f"{machine.name}x{machine.count}",
            way_out=f"{machine.name}x{together}, or another devices_per_run",
        )

    def pace(config: RunConfig) -> PairSeconds:
        precision = config.training.precision_on("cuda")
        again = _forward_again(config, together)
        masked, whole = (
            machine.seconds(
                (pair.flops or 0) + again * (pair.forward_flops or 0),
                precision=precision,
                num_devices=together,
            )
            for pair in pair_costs(config.model, config.strategy, config.text)
        )
        return PairSeconds(masked, whole)

    def duration(config: RunConfig) -> tuple[RunConfig, float | None, str]:
        config = spend(config, pace)
        cost = cost_of(config, pace(config))
        return config, cost.train_seconds if cost.flops else None, "assumed"

    words = (
        f"{machine.count} x {machine.name} at {ASSUMED_SHARE:.0%} of the peak of its data sheet "
        f"({machine.device.half:g} TFLOP/s in bf16). The share is an assumption, not a measurement"
    )
    return Place(words, "cuda", machine.count // together, machine.device.memory_gb * 1e9), duration


def _forward_again(config: RunConfig, num_devices: int) -> int:
    """Return how often a forward pass runs again: for micro-batches, and for gradient checkpointing."""
    pairs = config.training.batch_size // num_devices
    return ((config.training.micro_batch_size or pairs) < pairs) + config.model.grad_checkpointing


def of_runs(
    specs: Sequence[RunSpec], ledger: Ledger, slots: Slots, foreseen: Sequence[RunSpec], num_open: int
) -> pd.DataFrame:
    """Return what runs would take on this machine, and which of them are complete; nothing is trained.

    Args:
        specs: The runs.
        ledger: Their study's.
        slots: Where they would be trained.
        foreseen: Runs that would be trained before.
        num_open: How many of the runs, the last ones, only stand for points that a sampler will choose.
    """
    estimator = Estimator(slots.first_device, threads=slots.threads)
    rows, together, first_open = [], len(slots.devices[0].split(",")), len(specs) - num_open
    for number, spec in enumerate(specs):
        is_new = number < first_open and not ledger.finished(spec)
        begins = first_step(spec, ledger.runs_root, together, foreseen) if is_new else 0
        new = f"from step {begins}" if begins else "to train"
        state = new if is_new else "exists" if number < first_open else TO_CHOOSE
        rows.append((spec, estimator.cost(spec.config, first_step=begins), state))
    return plan_frame(rows, slots.devices)


def _points(design: Design) -> Iterator[tuple[str, Design, Point, int]]:
    """Yield each arm, or point of a searched one, with its number of runs, and those that tune it before."""
    seeds, is_tuned = len(design.config.seeds), design.config.tune is not None
    if is_tuned:
        before = design.tuning(design.config.arm_names)
        yield from (("tuning ", before, point, runs) for _, _, point, runs in _points(before))
    if design.config.search is None:
        yield from (("", design, Point(arm, {}), seeds) for arm in design.config.arm_names)
        return
    yield from (("", design, Point(arm, {}), seeds) for arm in reference_arms(design))
    points, are_open = searched_points(design)
    if are_open:  # stand-ins, as many of each arm
        standing = {point.arm: point for point in points}
        each = seeds * len(points) // max(1, len(standing))
        yield from (("", design, point, each) for point in standing.values())
        return
    yield from (("", design, point, seeds) for point in points)


# --------------------------------------------------------------------------- devices that are elsewhere

#: Share of a device's peak that a training is taken to reach. An assumption: nothing was measured on a GPU.
#: Small models reach far less.
ASSUMED_SHARE = 0.3


#: More are not planned for: they are a slip of the hand.
MOST_DEVICES = 100_000


@dataclass(frozen=True)
class Device:
    """A device by its data sheet.

    Attributes:
        half: Peak of dense matrix products in bf16, in 10^12 operations a second.
        single: The same in fp32, without TF32.
        memory_gb: Its memory in 10^9 bytes.
    """

    half: float
    single: float
    memory_gb: float


#: NVIDIA's data sheets; of those with several forms the one for servers (SXM).
DEVICES = {
    "A100": Device(312, 19.5, 80),
    "H100": Device(989, 67, 80),
    "H200": Device(989, 67, 141),
    "L4": Device(121, 30.3, 24),
    "L40S": Device(362, 91.6, 48),
    "RTX4090": Device(165, 82.6, 24),
}


@dataclass(frozen=True)
class Machine:
    """Equal devices.

    Attributes:
        name: Of the device, as in `DEVICES`.
        count: How many there are.
    """

    name: str
    count: int

    @property
    def device(self) -> Device:
        """One of them."""
        return DEVICES[self.name]

    def seconds(self, flops: float, *, precision: str, num_devices: int) -> float:
        """Return how long operations take on some of the devices, at the assumed share of their peak."""
        peak = self.device.single if precision == "fp32" else self.device.half
        return flops / (num_devices * ASSUMED_SHARE * peak * 1e12)


def machine_named(text: str) -> Machine | None:
    """Return the machine that ``H100`` or ``H100x8`` names; None where it names none of the table.

    Raises:
        ConfigError: It is written like one, but no such device is known.
    """
    found = re.fullmatch(r"([A-Z][A-Za-z0-9]*?)(?:x(\d+))?", text)
    if found is None:
        return None
    name, count = found[1], int((found[2] or "1")[:9])  # Python reads no number of thousands of digits
    if name not in DEVICES or not 0 < count <= MOST_DEVICES:
        way_out = f"{nearest(name, DEVICES)}; xN behind it: N of them, at most {MOST_DEVICES:,}"
        raise ConfigError("the table has no such devices", where="--device", value=text, way_out=way_out)
    return Machine(name, count)
