"""A column is one entry in one list, and one that says nothing is left out."""

from __future__ import annotations

import re
from pathlib import Path

from fabricated import ARMS, Arm, on_gpu

from pgsbench.reporting import columns, render, tables, terminal
from pgsbench.reporting.columns import Column
from pgsbench.reporting.results import Results
from pgsbench.reporting.study_frames import read_frames

PAGE = Path(__file__).parents[2] / "docs" / "add-a-column.md"


def test_a_column_is_one_entry_as_the_page_says(fabricate, monkeypatch):
    entries = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
    added = [eval(entry, {"Column": Column}) for entry in entries]
    monkeypatch.setattr(columns, "COST", [*columns.COST, *added])
    results = Results(read_frames(fabricate(seeds=(0, 1))))
    table = tables.cost_table(results)
    assert list(table.names)[-2:] == ["final loss", "s per step"]
    row = columns.rows_of(results)["pgs"]
    summary = row.summary
    pgs = next(row for row in table.cells() if row[0] == "pgs")
    assert pgs[-2:] == [f"{summary['final_loss']:.2f}", f"{row.seconds / 384:.3f}"]
    assert "Final loss: of the last step." in table.notes
    for written in (render.markdown, terminal.text, render.latex):
        assert "final" in written(table)


def test_a_column_beside_the_scores(fabricate, monkeypatch):
    share = Column("mask share", "mask_share", "{:.1%}")
    monkeypatch.setattr(columns, "BESIDE_SCORES", [*columns.BESIDE_SCORES, share])
    table = tables.scores_table(Results(read_frames(fabricate(seeds=(0,)))))
    assert table.names[-1] == "mask share"
    assert next(row for row in table.cells() if row[0] == "pgs")[-1] == "2.1%"
    assert all(len(row) == len(table.names) for row in table.cells())


def test_memory_is_shown_where_a_gpu_measured_it_and_left_out_elsewhere(fabricate):
    assert "peak GiB" not in tables.cost_table(Results(read_frames(fabricate(seeds=(0,))))).names
    gpu = {name: on_gpu(arm) for name, arm in ARMS.items()}
    table = tables.cost_table(Results(read_frames(fabricate(gpu, seeds=(0,), name="gpu"))))
    peak = list(table.names).index("peak GiB")
    assert {row[0]: row[peak] for row in table.cells()}["none"] == "1.56"
    mixed = {"pgs": on_gpu(Arm()), "flip": Arm()}
    table = tables.cost_table(Results(read_frames(fabricate(mixed, seeds=(0,), name="mixed"))))
    assert [row[-1] == "missing" for row in table.cells()] == [False, True]
