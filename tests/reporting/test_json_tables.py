"""Tables as JSON are for programs: numbers are numbers, with intervals too, and what is missing is null."""

from __future__ import annotations

import json

import pytest

from pgsbench.reporting.render import COUNT, PERCENT, POINTS, Estimate, Format, Table, as_json


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
