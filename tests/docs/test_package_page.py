"""What an index shows of the package: where it runs, and the paper it is about."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pgsbench

API = Path(__file__).parents[2] / "docs" / "api.md"
PROJECT = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())["project"]


def test_the_systems_are_named_and_windows_is_none_of_them() -> None:
    systems = {name for name in PROJECT["classifiers"] if name.startswith("Operating System")}
    assert systems == {"Operating System :: MacOS", "Operating System :: POSIX :: Linux"}


def test_the_paper_is_linked() -> None:
    assert PROJECT["urls"]["Paper"].endswith("/2503.17080")


def test_every_public_name_has_its_place_in_the_api_reference() -> None:
    page = API.read_text()
    for name, home in pgsbench._HOMES.items():
        assert f"::: {home.replace(':', '.')}\n" in page, name
