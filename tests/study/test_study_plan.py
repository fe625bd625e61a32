"""What `pgsbench plan` says of a study: whence its times come, what fits, what differs."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from study_records import write_study_record
from tinyworld import TinyWorld

from pgsbench.cli.app import app
from pgsbench.errors import ConfigError, StudyError
from pgsbench.execution.estimate import Estimator
from pgsbench.execution.machines import ASSUMED_SHARE, DEVICES, machine_named
from pgsbench.records.run_records import Summary
from pgsbench.records.study_record import StudyRecord, StudyRun
from pgsbench.reporting.render import Table, as_json
from pgsbench.reporting.runs.study_plan import scaled
from pgsbench.session.planning import _place, differences, plan
from pgsbench.study.budget import PairSeconds
from pgsbench.study.open import open_by_name, open_study_file
from pgsbench.study.plan import Planner
from pgsbench.tracking.rundir import RunDir


def cells(table: Table) -> dict[str, dict[str, str]]:
    return {row[0]: dict(zip(table.names, row, strict=True)) for row in table.cells()}


@pytest.fixture
def timed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Estimator, "seconds", lambda *_: PairSeconds(1.0, 2.0))


@pytest.mark.usefixtures("timed")
def test_times_come_from_past_runs_where_there_are_any(tiny: TinyWorld, tmp_path: Path) -> None:
    study = open_study_file(tiny.study, overrides=["search=null"])
    past = Planner(study).spec("flip", 5, {})
    training = past.config.training.model_copy(update={"samples": 9600})  # a longer one
    past = replace(past, config=past.config.model_copy(update={"training": training}))
    other = replace(past, arm="none", numerics=replace(past.numerics, threads=7))
    runs = tmp_path / "runs"
    for spec in (past, other):
        run = RunDir.create(runs, spec)
        summary = Summary(1, 9600, 96000.0, 1.0, 32.0, 0.0, 0.5, 0.3, 8, 8, 1000, 2.0, eval_seconds=60.0)
        run.write_summary(summary)
    kept = tuple(StudyRun(spec, spec.folder) for spec in (past, other))
    write_study_record(StudyRecord(study.config, kept), runs / "tiny")
    costs, _ = plan(study, output=tmp_path, device="cpu")
    found = cells(costs)
    assert found["flip"]["time"] == "17.0 min"  # 96 samples at 10 seconds, and the evaluation
    assert found["flip"]["time from"] == "past runs: 1"
    assert found["none"]["time from"] == "steps timed", "that one had other threads"
    assert found["none"]["time"] == "1.6 min"  # no step of six is 15 % of them
    assert found["pgs"]["steps"] == "6"


def test_a_table_assumes_and_says_so(tiny: TinyWorld) -> None:
    study = open_study_file(tiny.study, overrides=["search=null", "seeds=[0, 1]"])
    costs, _ = plan(study, device="H100x2")
    assert {row[-1] for row in costs.cells()} == {"assumed"}
    assert "2 runs at a time on 2 x H100 at 30% of the peak" in costs.notes[0]
    assert "8 runs" in costs.notes[0]
    half, single = (
        machine_named("A100").seconds(1e15, precision=precision, num_devices=2)  # type: ignore[union-attr]
        for precision in ("bf16", "fp32")
    )
    assert half == pytest.approx(1000 / (2 * 312 * ASSUMED_SHARE))
    assert single == pytest.approx(1000 / (2 * 19.5 * ASSUMED_SHARE))


@pytest.mark.parametrize(
    ("changed", "times"),
    [
        (["training.micro_batch_size=128"], 4 / 3),
        (["training.micro_batch_size=128", "model.grad_checkpointing=true"], 5 / 3),
        (["training.micro_batch_size=512", "devices_per_run=8"], 1 / 8),  # a device has 512 pairs at a time
    ],
)
def test_a_forward_pass_that_runs_again_takes_its_time(
    tiny: TinyWorld, changed: list[str], times: float
) -> None:
    def seconds(*more: str) -> float:
        base = ["search=null", "model=ViT-B-16", "training.batch_size=4096", "training.samples=4096"]
        study = open_study_file(tiny.study, overrides=[*base, *more])
        _, duration = _place(study, "H100x8", tiny.study.parent / "runs")
        return duration(study.run_config("none", {}, 0))[1] or 0.0

    assert seconds(*changed) == pytest.approx(times * seconds(), rel=1e-6)


def test_what_does_not_fit_is_named(tiny: TinyWorld) -> None:
    changed = ["search=null", "model=ViT-B-16", "training.batch_size=4096", "training.samples=4096"]
    _, memory = plan(open_study_file(tiny.study, overrides=changed), device="A100")
    assert "More than the 75 GiB of a device: pgs, flip, none, oracle." in memory.notes[0]
    fits = [*changed, "devices_per_run=8", "training.micro_batch_size=128"]
    _, memory = plan(open_study_file(tiny.study, overrides=fits), device="A100x8")
    assert "More than" not in memory.notes[0]


def test_names_of_machines(tiny: TinyWorld) -> None:
    assert machine_named("H100x8") is not None
    assert all(machine_named(name) is not None for name in DEVICES)
    assert machine_named("cuda:1") is machine_named("auto") is None
    with pytest.raises(ConfigError, match="did you mean 'H100'"):
        machine_named("H10x8")
    with pytest.raises(ConfigError, match="trained by 4 devices"):
        plan(open_study_file(tiny.study, overrides=["devices_per_run=4"]), device="H100x2")


def test_points_of_a_search_are_rows_of_their_own(tiny: TinyWorld) -> None:
    costs, _ = plan(open_study_file(tiny.study), device="H100")
    assert [row[0] for row in costs.cells()] == [
        *("none", "oracle"),
        *("pgs mask_ratio=0.5", "pgs mask_ratio=0.75", "flip mask_ratio=0.5", "flip mask_ratio=0.75"),
    ]
    search = "search={sampler: tpe, trials: 5, space: {strategy.mask_ratio: {low: 0.4, high: 0.8}}}"
    costs, _ = plan(open_study_file(tiny.study, overrides=[search, "seeds=[0, 1]"]), device="H100")
    assert [row[:2] for row in costs.cells()][-1][1] == "10"


def test_what_differs_from_a_study_and_from_a_run(tiny: TinyWorld, tmp_path: Path) -> None:
    study = open_study_file(tiny.study)
    rows = differences(open_by_name("datacomp-small"), "paper").cells()
    assert ["training.warmup_steps", "None", "10000", "all"] in [list(row) for row in rows]
    changed = open_study_file(tiny.study, overrides=["arms.flip.training={beta2: 0.9}"])
    table = differences(changed, str(tiny.study))
    assert [list(row) for row in table.cells()] == [["training.beta2", "0.9", "0.98", "flip"]]
    (spec,) = Planner(study).specs(["flip"])
    RunDir.create(tmp_path / "runs", spec)
    table = differences(changed, spec.id[:6], output=tmp_path)
    assert [list(row) for row in table.cells()] == [["training.beta2", "0.9", "0.98", "all"]]
    assert differences(study, spec.id, output=tmp_path).notes[0] == "Nothing differs."
    with pytest.raises(ConfigError, match="neither such a study nor such a run"):
        differences(study, "zzz", output=tmp_path)


def test_one_command_plans(tiny: TinyWorld, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def said(*words: str) -> str:
        app(["plan", str(tiny.study), "--output", str(tmp_path), *words], standalone_mode=False)
        return capsys.readouterr().out

    assert "Memory of a step" in said("--device", "H100")
    assert "How tiny differs from quick" in said("--diff", "quick")
    with pytest.raises(StudyError, match="no study has run here"):
        said("--power")


def test_numbers_are_short() -> None:
    numbers: list[Any] = [0, 7, 999, 1000, 12_345, 397_545_472, 4.9e19]
    assert [scaled(number) for number in numbers] == [
        *("0", "7", "999", "1.00 k", "12.3 k", "398 M", "49.0 E"),
    ]


def test_programs_read_numbers_in_plain_units(tiny: TinyWorld) -> None:
    tables = plan(open_study_file(tiny.study, overrides=["search=null"]), device="H100")
    found = json.loads(as_json(*tables))
    for rows, words in zip(found.values(), ({"arm", "time from"}, {"arm"}), strict=True):
        assert all(type(row[name]) in (int, float) for row in rows for name in row.keys() - words)
    assert found["Memory of a step"][0]["weights"] > 10_000  # bytes
