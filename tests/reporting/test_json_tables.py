"""Tables as JSON are for programs: numbers are numbers, with intervals too, and what is missing is null."""

from __future__ import annotations

import json

import pytest

from pgsbench.reporting.render import MISSING_CELL, Cell, Table, as_json, interval_cell, text


def rows_of(table: Table) -> list[dict[str, object]]:
    def refuse(name: str) -> None:
        raise ValueError(f"{name} is no JSON")

    found = json.loads(as_json(table), parse_constant=refuse)
    rows: list[dict[str, object]] = found[table.title]
    return rows


def test_numbers_are_numbers() -> None:
    cells = [
        "−0.4",
        "1,008",
        "1.06×",
        "3.44%",
        "88 %",
        "1.0e-04",
        "< 0.001",
        MISSING_CELL,
        "",
        "0.91 (−0.5 to 1.00)",
    ]
    (row,) = rows_of(Table("t", ["arm", *map(str, range(10))], [["0123", *cells]]))
    assert row["arm"] == "0123"  # it names the row
    numbers = [
        -0.4,
        1008,
        1.06,
        3.44,
        88,
        1e-4,
        "< 0.001",
        None,
        None,
        {"value": 0.91, "low": -0.5, "high": 1.0},
    ]
    assert [row[str(i)] for i in range(10)] == numbers


def test_intervals_are_told_in_full_and_what_is_no_number_is_null() -> None:
    cell = interval_cell(-0.0061, -0.0093, float("nan"), signed=True)
    (row,) = rows_of(Table("t", ["arm", "lead"], [["pgs", cell]]))
    assert row["lead"] == {"value": pytest.approx(-0.61), "low": pytest.approx(-0.93), "high": None}


def test_words_stay_words_unless_a_cell_says_what_it_holds() -> None:
    table = Table("t", ["what", "value"], [["id", "42"], ["s", Cell("15.4", value=15.37)]], text_columns=(1,))
    assert [row["value"] for row in rows_of(table)] == ["42", 15.37]
    assert "15.4" in text(table)
    assert "15.37" not in text(table)


def test_columns_and_tables_of_one_name_are_all_there() -> None:
    table = Table("t", ["task", "scenes", "scenes", "difference"], [["colour", "1.0", "2.0", "−1.0"]])
    other = Table("t", ["task"], [["shape"]])
    assert json.loads(as_json(table, other)) == {
        "t": [{"task": "colour", "scenes": 1.0, "scenes (2)": 2.0, "difference": -1.0}],
        "t (2)": [{"task": "shape"}],
    }
