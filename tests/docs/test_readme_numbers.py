"""The marked numbers of the README are those of the committed reports."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")

_spec = importlib.util.spec_from_file_location("readme_numbers", ROOT / ".ci/readme_numbers.py")
numbers = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(numbers)


@pytest.fixture
def reports(tmp_path: Path) -> Path:
    (tmp_path / "one").mkdir()
    (tmp_path / "one/comparisons.csv").write_text(
        "family,of,candidate,baseline,estimate,low,high\n"
        "groups,mean of groups,pgs,flip,-0.0005,-0.0022,0.0112\n"
        "groups,mean of groups,pgs,none,,,\n"
    )
    (tmp_path / "one/verdict.json").write_text('{"scores": {"pgs": {"mean of groups": {"value": 0.0456}}}}')
    return tmp_path


def test_the_readme_has_the_numbers_of_the_reports(monkeypatch: pytest.MonkeyPatch) -> None:
    marked = numbers.MARKED.findall(README)
    (agreement,) = (one[4] for one in marked if one[1] == "validity")
    assert len(marked) > 1
    monkeypatch.setattr(numbers, "_agreement", lambda *_: agreement)  # it takes the two largest reports
    assert numbers.filled(README) == README, "make readme-numbers"


@pytest.mark.slow
def test_the_readme_says_how_well_scenes_order_arms_as_photos_do() -> None:
    assert numbers.filled(README) == README, "make readme-numbers"


@pytest.mark.parametrize(
    ("said", "number"),
    [
        ("pgs - flip, mean of groups", "-0.1, -0.2 to +1.1"),
        ("flip - pgs, mean of groups", "+0.1, -1.1 to +0.2"),
        ("pgs, mean of groups", "4.6"),
    ],
)
def test_a_number_is_filled_in(reports: Path, said: str, number: str) -> None:
    text = "by <!-- one: {} -->{}<!-- / --> points"
    assert numbers.filled(text.format(said, "9"), reports) == text.format(said, number)


@pytest.mark.parametrize("said", ["pgs - grid, mean of groups", "pgs - none, mean of groups", "grid, x"])
def test_a_number_that_no_report_has_is_said(reports: Path, said: str) -> None:
    with pytest.raises(SystemExit, match="has no"):
        numbers.filled(f"<!-- one: {said} -->1<!-- / -->", reports)
