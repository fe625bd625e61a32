"""``pgsbench study``: what ships, what a study says in full, and whether it is valid."""

from __future__ import annotations

import json

from tinyworld import TinyWorld
from typer.testing import CliRunner

from pgsbench.cli.study_group import app
from pgsbench.study import studies


def run(*arguments: str) -> str:
    done = CliRunner().invoke(app, arguments, catch_exceptions=False)
    assert done.exit_code == 0
    return done.stdout


def test_studies_are_listed_with_their_questions() -> None:
    asked = json.loads(run("ls", "--json"))
    assert asked.keys() == studies().keys()
    assert all(question.endswith("?") for question in asked.values())
    for line, (name, question) in zip(run("ls").splitlines(), asked.items(), strict=True):
        assert line.split(maxsplit=1) == [name, question]


def test_a_study_is_shown_with_all_its_values(tiny: TinyWorld) -> None:
    shown = json.loads(run("show", str(tiny.study), "--set", "training.samples=64"))
    assert shown["arms"].keys() == {"pgs", "flip", "none", "oracle"}
    assert shown["arms"]["flip"]["strategy"] == {"name": "flip", "mask_ratio": 0.5}
    assert {arm["training"]["samples"] for arm in shown["arms"].values()} == {64}
    assert shown["search"]["metric"] == "mean"
