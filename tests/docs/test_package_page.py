"""What an index shows of the package: where it runs, and the paper it is about."""

from __future__ import annotations

from pathlib import Path

import pgsbench

API = Path(__file__).parents[2] / "docs" / "api.md"


def test_every_public_name_has_its_place_in_the_api_reference() -> None:
    page = API.read_text()
    for name, home in pgsbench._HOMES.items():
        assert f"::: {home.replace(':', '.')}\n" in page, name
