"""What a study will cost, before anything of it runs: steps, tokens, operations, memory, time.

No data is needed. Times come from past runs of the study, else from
a few steps on this machine; for a machine that is elsewhere from a table. Each row says from which.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

from pgsbench.config.schema import RunConfig
from pgsbench.data.shards import MAX_READERS, augmentation, num_readers, reader_pace, told_of_reading
from pgsbench.devices import usable_cores
from pgsbench.errors import ConfigError
from pgsbench.execution.estimate import Estimator, cost_of
from pgsbench.execution.kept_times import KeptTimes
from pgsbench.execution.machines import ASSUMED_SHARE, Machine, machine_named
from pgsbench.execution.past import PastRuns
from pgsbench.execution.slots import plan_slots
from pgsbench.models.clip import build
from pgsbench.models.pair_cost import pair_costs
from pgsbench.models.step_memory import step_memory
from pgsbench.records.run_spec import label_of
from pgsbench.reporting.plan_tables import Place, PlannedLabel, plan_tables
from pgsbench.reporting.render import Table, counted
from pgsbench.study.budget import PairSeconds, spend
from pgsbench.study.plan import Point, reference_arms, searched_points
from pgsbench.study.study_file import StudyFile
from pgsbench.study.tuning import tuning_of


def plan(file: StudyFile, *, device: str = "auto", output: str | Path = ".") -> list[Table]:
    """Return what a study will cost as tables: its runs by label, and the memory of a step.

    Args:
        file: The study.
        device: As of `open_study`, which is timed; or devices of the table, such as ``H100x8``.
        output: The folder of ``runs/``.

    Raises:
        UserError: There is no such device, or a model cannot be built.
    """
    place, duration = _place(file, device, Path(output) / "runs")
    rows = []
    for what, study, point, count in _points(file):
        config, seconds, source = duration(study.run_config(point.arm, point.params, study.config.seeds[0]))
        memory = step_memory(config, device_type=place.device_type, num_devices=file.config.devices_per_run)
        label = what + label_of(point.arm, point.params)
        rows.append(PlannedLabel(label, count, config, cost_of(config), memory, seconds, source))
    tables = plan_tables(file.config.name, rows, place)
    paces = [row.cost.samples / row.seconds for row in rows if row.seconds]
    if paces and augmentation(file.config.data) is not None:
        told = _told_of_reading(max(paces) / file.config.devices_per_run, rows[0].config, device)
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


def _place(file: StudyFile, device: str, runs_root: Path) -> tuple[Place, _Duration]:
    together, name = file.config.devices_per_run, file.config.name
    machine = machine_named(device)
    if machine is not None:
        return _elsewhere(machine, together)
    slots = plan_slots(device=device, devices_per_run=together)
    folder = runs_root / name
    past = PastRuns(runs_root, name, device_type=slots.device_type, threads=slots.threads)
    kept = KeptTimes(folder, slots)
    estimator = Estimator(slots.first_device, threads=slots.threads)
    sharing = min(together, usable_cores() // slots.threads) if slots.device_type == "cpu" else together

    def duration(config: RunConfig) -> tuple[RunConfig, float | None, str]:
        config = spend(config, kept)
        samples, found = config.training.steps * config.training.batch_size, past.of(config)
        if found:
            seconds = samples * found.pair.masked + (found.evaluation or 0.0)
            return config, seconds, f"past runs: {found.count}"
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


def _points(file: StudyFile) -> Iterator[tuple[str, StudyFile, Point, int]]:
    """Yield each arm, or point of a searched one, with its number of runs, and those that tune it before."""
    seeds, is_tuned = len(file.config.seeds), file.config.tune is not None
    if is_tuned:
        before = tuning_of(file, file.config.arm_names)
        yield from (("tuning ", before, point, runs) for _, _, point, runs in _points(before))
    if file.config.search is None:
        yield from (("", file, Point(arm, {}), seeds) for arm in file.config.arm_names)
        return
    yield from (("", file, Point(arm, {}), seeds) for arm in reference_arms(file))
    points, are_open = searched_points(file)
    if are_open:  # stand-ins, as many of each arm
        standing = {point.arm: point for point in points}
        each = seeds * len(points) // max(1, len(standing))
        yield from (("", file, point, each) for point in standing.values())
        return
    yield from (("", file, point, seeds) for point in points)
