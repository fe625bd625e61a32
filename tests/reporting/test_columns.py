"""A column of the table of arms is one entry in one list, and one that says nothing is left out."""

from __future__ import annotations

import re
from pathlib import Path

import pandas as pd
import pytest
from fabricated import ARMS, Arm, on_gpu

from pgsbench.reporting import columns, render
from pgsbench.reporting.columns import Column, arms_table
from pgsbench.reporting.pages.study_report import write_report
from pgsbench.reporting.results import Results
from pgsbench.reporting.study_frames import read_frames

PAGE = Path(__file__).parents[2] / "docs" / "runs.md"


def cells_of(table, label):
    return dict(zip(table.names, next(row for row in table.cells() if row[0] == label), strict=True))


def table_of(fabricate, arms=ARMS, **options):
    return arms_table(Results(read_frames(fabricate(arms, **{"seeds": (0, 1), **options}))))


def test_a_column_is_one_entry_and_stands_in_every_output(fabricate, monkeypatch, tmp_path):
    entries = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
    added = [eval(entry, {"Column": Column}) for entry in entries]
    monkeypatch.setattr(columns, "COLUMNS", [*columns.COLUMNS, *added])
    monkeypatch.setattr("pgsbench.reporting.figures.ALL", {})
    results = Results(read_frames(fabricate(seeds=(0, 1))))
    table, row = arms_table(results), columns.rows_of(results)["pgs"]
    assert list(table.names)[-2:] == ["final loss", "s per step"]
    expected = f"{row.summary['final_loss']:.2f}", f"{row.seconds / 384:.3f}"
    assert tuple(cells_of(table, "pgs").values())[-2:] == expected
    assert "Final loss: of the last step." in " ".join(table.notes)
    report = write_report(results, tmp_path / "out")
    for name in ("report.md", "report.html", "tables.tex"):
        assert f"{expected[0]}" in (report / name).read_text(), name
    found = pd.read_csv(report / "arms.csv").set_index("arm")["final loss"]["pgs"]
    assert found == pytest.approx(row.summary["final_loss"])
    assert '"final loss"' in render.as_json(table)


def test_times_are_relative_to_the_unmasked_arm_and_masks_say_what_they_show(fabricate):
    table = table_of(fabricate)
    none, pgs = cells_of(table, "none"), cells_of(table, "pgs")
    assert none["time"] == "1.00×"
    assert 0.5 < float(pgs["time"][:-1]) < 0.8
    expected = {
        "mask share": "2.10%",
        "masked": "42.5%",
        "tokens": "36.8",
        "overlap": "33",
        "objects": "70.0",
    }
    assert {name: pgs[name] for name in expected} == expected
    assert none["overlap"] == "100"
    assert "over that of none" in " ".join(table.notes)
    assert [row[0] for row in table.rows] == sorted(
        (row[0] for row in table.rows), key=lambda label: -float(cells_of(table, label)["score"].split()[0])
    )


def test_on_cpus_time_is_processor_time(fabricate):
    """Two runs side by side, or something else on the machine, change wall time and nothing else."""
    folder = fabricate({"none": Arm(mask_ratio=0.0), "pgs": Arm()}, seeds=(0,))
    run = read_frames(folder).runs[0]
    assert run.summary.train_cpu_seconds == 2 * run.summary.train_seconds
    cells = cells_of(arms_table(Results(read_frames(folder))), "none")
    assert cells["train s"] == f"{run.summary.train_cpu_seconds:,.0f}"
    assert cells["samples/s"] == f"{run.summary.samples_per_second / 2:,.0f}"
    gpu = read_frames(fabricate({"none": on_gpu(Arm(mask_ratio=0.0))}, name="gpu", seeds=(0,)))
    cells = cells_of(arms_table(Results(gpu)), "none")
    assert cells["samples/s"] == f"{gpu.runs[0].summary.samples_per_second:,.0f}"


def test_memory_is_shown_where_a_gpu_measured_it_and_left_out_elsewhere(fabricate):
    assert "peak GiB" not in table_of(fabricate).names
    gpu = {name: on_gpu(arm) for name, arm in ARMS.items()}
    assert cells_of(table_of(fabricate, gpu, name="gpu"), "none")["peak GiB"] == "1.56"
    mixed = table_of(fabricate, {"pgs": on_gpu(Arm()), "flip": Arm()}, name="mixed")
    assert [cells_of(mixed, arm)["peak GiB"] == "missing" for arm in ("pgs", "flip")] == [False, True]


def test_what_all_arms_share_is_said_once(fabricate):
    table = table_of(fabricate)
    assert "seeds" not in table.names
    assert "The same for all: seeds 2" in table.notes[-1]
    assert "seeds" in table_of(fabricate, {"pgs": Arm(), "flip": Arm()}, name="few").names


def test_a_page_has_the_best_rows_and_the_file_all(fabricate, monkeypatch, tmp_path):
    monkeypatch.setattr(columns, "MAX_ROWS", 3)
    monkeypatch.setattr("pgsbench.reporting.figures.ALL", {})
    results = Results(read_frames(fabricate(seeds=(0,))))
    table = arms_table(results, max_rows=3)
    assert len(table.rows) == 3
    assert "The best 3 of 5; arms.csv has all." in table.notes[0]
    assert len(pd.read_csv(write_report(results, tmp_path / "out") / "arms.csv")) == 5
