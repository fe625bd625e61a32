"""Tables in a terminal and in a pipe: no wider than 100 columns, and nothing of them is lost."""

from __future__ import annotations

import io
import re
import sys

import pytest
from fabricated import Arm
from rich.console import Console

from pgsbench.records.verdict_record import ALL_GROUPS
from pgsbench.reporting import render, tables, terminal
from pgsbench.reporting.pages.templates import environment
from pgsbench.reporting.render import Cell, Table
from pgsbench.reporting.results import Results
from pgsbench.reporting.study_frames import read_frames
from pgsbench.reporting.verdict.short_table import verdict_table


@pytest.fixture
def results(fabricate):
    arms = {f"a-rather-long-name-{k}": Arm(2.0 * k) for k in range(9)}
    return Results(read_frames(fabricate(arms, seeds=(0,))), candidate="a-rather-long-name-0")


def coloured(*shown: Table, width: int = 100) -> str:
    file = io.StringIO()
    console = Console(
        file=file, width=width, force_terminal=True, highlight=False, color_system="standard", no_color=False
    )
    terminal.draw(*shown, console=console)
    return file.getvalue()


def in_terminal(*shown: Table) -> str:
    return re.sub(r"\x1b\[[0-9;]*m", "", coloured(*shown))


def test_every_table_fits_100_columns(results):
    for make in (
        tables.scores_table,
        tables.differences_table,
        tables.tasks_table,
        tables.task_differences_table,
        tables.cost_table,
        tables.mask_table,
    ):
        table = make(results)
        for said in (render.text(table), in_terminal(table)):
            assert max(map(len, said.splitlines())) <= 100, said
            words = set(said.split())
            lost = [cell for row in table.rows for cell in row if not set(_short(cell).split()) <= words]
            assert not lost


def test_a_verdict_has_its_colour_with_seeds_enough_and_none_with_one(fabricate):
    arms = {"pgs": Arm(), "flip": Arm(-20.0), "none": Arm(20.0)}
    for seeds, better, worse in (((0, 1, 2), "34", "31"), ((0,), "", "")):
        results = Results(read_frames(fabricate(arms, seeds=seeds, seed_sd=0.0, name=f"of-{len(seeds)}")))
        for width in (100, 45):
            said = coloured(verdict_table(results), width=width)
            for mark, colour in (("▲ better", better), ("▼ worse", worse)):
                before = f"\x1b[1;{colour}m" if colour else " "
                assert f"{before}{mark}" in said, (seeds, width)
        page = environment().get_template("grid.html.j2").module.grid(verdict_table(results))
        for word in ("better", "worse"):
            assert bool(re.search(rf'class="\w* {word}"', page)) == (len(seeds) > 1), (seeds, word)


def _short(cell: str) -> str:
    return cell.short if isinstance(cell, Cell) else cell


def test_the_mean_comes_first_and_terminals_get_half_the_interval(results):
    table = tables.scores_table(results)
    assert table.header[2] == ALL_GROUPS
    full = table.rows[0][2]
    assert re.fullmatch(r"\d+\.\d \(\d+\.\d to \d+\.\d\)", full)
    found = results.mean("a-rather-long-name-0", ALL_GROUPS)
    short = f"{100 * found.estimate:.1f} ±{50 * (found.high - found.low):.1f}"
    assert short in render.text(table)
    assert full not in render.text(table)
    assert short.replace("±", r"$\pm$") in render.latex(table)
    assert full in render.markdown(table)


def test_an_interval_that_was_cut_at_an_end_is_never_short():
    assert render.interval_cell(0.94, 0.88, 1.0).short == "94.0 ±6.0"
    assert render.interval_cell(0.02, -0.011, 0.0513, signed=True).short == "+2.0 ±3.1"
    for ends, full in {
        (1.0, 0.88, 1.0): "100.0 (88.0 to 100.0)",
        (0.012, 0.0, 0.031): "1.2 (0.0 to 3.1)",
    }.items():
        cell = render.interval_cell(*ends)
        assert cell == full
        assert cell.short == full


def test_a_wide_table_goes_on_below_with_the_names_of_its_rows():
    table = Table("T", ["arm", "group", *"abcdefgh"], [["p", "g", *["1234567890"] * 8]] * 2, num_keys=2)
    parts = render.fitted(table, 60)
    assert [list(part.header[:2]) for part in parts] == [["arm", "group"]] * len(parts)
    assert [name for part in parts for name in part.header[2:]] == list("abcdefgh")


def test_long_words_are_wrapped_and_rows_stay_whole():
    words = "the arms were tested on different items of the suite " * 4
    said = render.text(
        Table("T", ["arm", "why"], [["pgs", words], ["flip", "x"]], [words], text_columns=(1,))
    )
    assert max(map(len, said.splitlines())) <= 100
    assert " ".join(said.split()).count("different items") == 8
    assert "\nflip  x\n" in said


def test_pipes_get_plain_text_and_terminals_colours(capsys, monkeypatch):
    table = Table("T", ["arm", "verdict"], [["pgs", "better"]], text_columns=(1,))
    terminal.show(table, table)
    assert capsys.readouterr().out == f"{render.text(table)}\n{render.text(table)}"
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    monkeypatch.setenv("FORCE_COLOR", "1")
    terminal.show(table)
    assert "\x1b[" in capsys.readouterr().out
