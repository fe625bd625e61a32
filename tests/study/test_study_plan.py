"""What `pgsbench plan` says of a study: whence its times come, what fits, what differs."""

from __future__ import annotations

from pathlib import Path

import pytest
from tinyworld import TinyWorld

from pgsbench.execution.estimate import Estimator
from pgsbench.reporting.render import Table
from pgsbench.session.costs import ASSUMED_SHARE, _place, machine_named, plan
from pgsbench.study.budget import PairSeconds
from pgsbench.study.open import open_study_file


def cells(table: Table) -> dict[str, dict[str, str]]:
    return {row[0]: dict(zip(table.names, row, strict=True)) for row in table.cells()}


@pytest.fixture
def timed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Estimator, "seconds", lambda *_: PairSeconds(1.0, 2.0))


@pytest.mark.usefixtures("timed")
def test_times_come_from_steps_on_this_machine(tiny: TinyWorld, tmp_path: Path) -> None:
    study = open_study_file(tiny.study, overrides=["search=null"])
    costs, _ = plan(study, output=tmp_path, device="cpu")
    found = cells(costs)
    assert found["none"]["time from"] == "steps timed"
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


def test_points_of_a_search_are_rows_of_their_own(tiny: TinyWorld) -> None:
    costs, _ = plan(open_study_file(tiny.study), device="H100")
    assert [row[0] for row in costs.cells()] == [
        *("none", "oracle"),
        *("pgs mask_ratio=0.5", "pgs mask_ratio=0.75", "flip mask_ratio=0.5", "flip mask_ratio=0.75"),
    ]
    search = "search={sampler: tpe, trials: 5, space: {strategy.mask_ratio: {low: 0.4, high: 0.8}}}"
    costs, _ = plan(open_study_file(tiny.study, overrides=[search, "seeds=[0, 1]"]), device="H100")
    assert [row[:2] for row in costs.cells()][-1][1] == "10"
