"""Tables in a terminal and in a pipe, no wider than 100 columns, with all that is in them; and as JSON."""

from __future__ import annotations

import io
import json
import re
import sys

import pytest
from fabricated import Arm
from rich.console import Console

from pgsbench.records.verdict_record import ALL_GROUPS
from pgsbench.reporting import render, terminal
from pgsbench.reporting.columns import arms_table
from pgsbench.reporting.pages.details import differences_table, tasks_table
from pgsbench.reporting.pages.templates import environment
from pgsbench.reporting.render import COUNT, PERCENT, POINTS, Estimate, Format, Table, as_json
from pgsbench.reporting.results import Results
from pgsbench.reporting.study_frames import read_frames


@pytest.fixture
def results(fabricate):
    arms = {f"a-rather-long-name-{k}": Arm(2.0 * k) for k in range(9)}
    return Results(read_frames(fabricate(arms, seeds=(0,))), candidate="a-rather-long-name-0")


def coloured(*shown: Table, width: int = 100) -> str:
    file = io.StringIO()
    console = Console(
        file=file, width=width, force_terminal=True, highlight=False, color_system="standard", no_color=False
    )
    terminal.draw(console, *shown)
    return file.getvalue()


def in_terminal(*shown: Table) -> str:
    return re.sub(r"\x1b\[[0-9;]*m", "", coloured(*shown))


def test_every_table_fits_100_columns(results):
    for make in (tasks_table, differences_table, arms_table):
        table = make(results)
        for said in (terminal.text(table), in_terminal(table)):
            assert max(map(len, said.splitlines())) <= 100, said
            words = set(said.split())
            cells = table.narrow().cells(short=True)
            assert not [c for row in cells for c in row if not set(c.split()) <= words]
    assert "train s" in arms_table(results).names
    assert "train s" not in terminal.text(arms_table(results))  # JSON and the page have it


def test_a_verdict_has_its_colour_with_seeds_enough_and_none_with_one(fabricate):
    arms = {"pgs": Arm(), "flip": Arm(-20.0), "none": Arm(20.0)}
    for seeds, better, worse in (((0, 1, 2), "34", "31"), ((0,), "", "")):
        results = Results(read_frames(fabricate(arms, seeds=seeds, seed_sd=0.0, name=f"of-{len(seeds)}")))
        for width in (100, 45):
            said = coloured(arms_table(results), width=width)
            for mark, colour in (("▲ better", better), ("▼ worse", worse)):
                before = f"\x1b[1;{colour}m" if colour else " "
                assert f"{before}{mark}" in said, (seeds, width)
        page = environment().get_template("grid.html.j2").module.grid(arms_table(results))
        for word in ("better", "worse"):
            assert bool(re.search(rf'class="\w* {word}"', page)) == (len(seeds) > 1), (seeds, word)


def test_terminals_and_pages_get_half_the_interval(results):
    table = arms_table(results)
    cells = next(row for row in table.cells() if row[0] == "a-rather-long-name-0")
    assert re.fullmatch(r"\d+\.\d \(\d+\.\d to \d+\.\d\)", cells[1])
    found = results.mean("a-rather-long-name-0", ALL_GROUPS)
    short = f"{100 * found.estimate:.1f} ±{50 * (found.high - found.low):.1f}"
    for said in (terminal.text(table), render.markdown(table)):
        assert short in said
        assert cells[1] not in said
    assert short.replace("±", r"$\pm$") in render.latex(table)


@pytest.mark.parametrize(
    ("form", "ends", "short", "full"),
    [
        (PERCENT, (0.94, 0.88, 1.0), "94.0 ±6.0", "94.0 (88.0 to 100.0)"),
        (POINTS, (0.02, -0.011, 0.0513), "+2.0 ±3.1", "+2.0 (−1.1 to +5.1)"),
        (PERCENT, (1.0, 0.88, 1.0), "100.0 (88.0 to 100.0)", "100.0 (88.0 to 100.0)"),
        (PERCENT, (0.012, 0.0, 0.031), "1.2 (0.0 to 3.1)", "1.2 (0.0 to 3.1)"),
    ],
)
def test_an_interval_that_was_cut_at_an_end_is_never_short(form, ends, short, full):
    assert form.text(Estimate(*ends), short=True) == short
    assert form.text(Estimate(*ends)) == full


def test_a_wide_table_goes_on_below_with_the_names_of_its_rows():
    header = ["arm", "group", *((letter, PERCENT) for letter in "abcdefgh")]
    said = terminal.text(Table("T", header, [["p", "g", *["1234567890"] * 8]] * 2, num_keys=2), width=60)
    heads = [line.split() for line in said.splitlines() if line.startswith("arm")]
    assert len(heads) > 1
    assert all(head[:2] == ["arm", "group"] for head in heads)
    assert [name for head in heads for name in head[2:]] == list("abcdefgh")


def test_long_words_are_wrapped_and_rows_stay_whole():
    words = "the arms were tested on different items of the suite " * 4
    said = terminal.text(Table("T", ["arm", "why"], [["pgs", words], ["flip", "x"]], [words]))
    assert max(map(len, said.splitlines())) <= 100
    assert " ".join(said.split()).count("different items") == 8
    assert "\nflip  x\n" in said


def test_pipes_get_plain_text_and_terminals_colours(capsys, monkeypatch):
    table = Table("T", ["arm", "verdict"], [["pgs", "better"]])
    terminal.show(table, table)
    assert capsys.readouterr().out == terminal.text(table, table)
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    monkeypatch.setenv("FORCE_COLOR", "1")
    terminal.show(table)
    assert "\x1b[" in capsys.readouterr().out


def rows_of(table: Table) -> list[dict[str, object]]:
    def refuse(name: str) -> None:
        raise ValueError(f"{name} is no JSON")

    found = json.loads(as_json(table), parse_constant=refuse)
    rows: list[dict[str, object]] = found[table.title]
    return rows


def test_values_are_told_in_the_unit_of_their_column_and_not_rounded() -> None:
    header = ["arm", ("n", COUNT), ("score", PERCENT), ("lead", POINTS), ("range", Format("{:.1f}"))]
    first = ["0123", 1008, 0.12345, Estimate(-0.0061, -0.0093, float("nan")), (0.25, 0.75)]
    one, other = rows_of(Table("t", header, [first, ["chance", "", None, float("nan"), "none"]]))
    lead = {"value": pytest.approx(-0.61), "low": pytest.approx(-0.93), "high": None}
    assert one == {
        "arm": "0123",
        "n": 1008,
        "score": pytest.approx(12.345),
        "lead": lead,
        "range": [0.25, 0.75],
    }
    assert other == {"arm": "chance", "n": None, "score": None, "lead": None, "range": "none"}


def test_columns_and_tables_of_one_name_are_all_there() -> None:
    table = Table("t", ["task", ("scenes", COUNT), ("scenes", COUNT)], [["colour", 1.0, 2.0]])
    other = Table("t", ["task"], [["shape"]])
    assert json.loads(as_json(table, other)) == {
        "t": [{"task": "colour", "scenes": 1.0, "scenes (2)": 2.0}],
        "t (2)": [{"task": "shape"}],
    }
