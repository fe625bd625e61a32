"""The tables of the page of results have the numbers of the committed reports."""

from __future__ import annotations

import csv
import json
import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/results.md").read_text(encoding="utf-8")
REPORTS = ROOT / "reports/examples"
GROUP = "mean of groups"


def table_after(heading: str) -> list[list[str]]:
    """Return the rows of the first table below a heading, without bold and links, headings left out."""
    part = PAGE[PAGE.index(f"## {heading}") :]
    lines = re.search(r"(?:^\|.*\n)+", part, re.MULTILINE)
    assert lines
    rows = [[cell.strip(" *`") for cell in line.strip("| ").split("|")] for line in lines[0].splitlines()]
    return [[re.sub(r"\[(.*?)\]\(.*?\)", r"\1", cell) for cell in row] for row in rows[2:]]


def scores(report: str) -> dict[str, dict[str, float]]:
    """Return value, low and high of each arm, in percent."""
    said = json.loads((REPORTS / report / "verdict.json").read_text(encoding="utf-8"))["scores"]
    return {arm: {end: 100 * found for end, found in of[GROUP].items()} for arm, of in said.items()}


def written(score: dict[str, float]) -> str:
    return "{value:.1f} ({low:.1f}-{high:.1f})".format(**score)


def first(cell: str) -> float:
    """Return the number that a cell begins with."""
    found = re.match(r"[+-]?[\d.]+", cell)
    assert found, cell
    return float(found[0])


def test_twelve_arms() -> None:
    photos, scenes = scores("photos"), scores("baselines")
    with (REPORTS / "baselines/arms.csv").open(encoding="utf-8") as file:
        overlap = {row["arm"]: float(row["overlap"]) for row in csv.DictReader(file)}
    rows = table_after("Twelve arms")
    assert {row[0].partition(":")[0] for row in rows} == set(photos)
    for name, on_photos, photos_lead, on_scenes, scenes_lead, alike in rows:
        arm = name.partition(":")[0]
        assert (on_photos, on_scenes) == (written(photos[arm]), written(scenes[arm])), arm
        assert alike == f"{overlap[arm]:.0f}", arm
        for lead, of in ((photos_lead, photos), (scenes_lead, scenes)):
            if arm != "flip":
                assert abs(first(lead) - (of[arm]["value"] - of["flip"]["value"])) <= 0.0501, (arm, lead)


def test_what_is_decided() -> None:
    rows = table_after("Decided")
    for report, row in zip(("decided", "decided-photos"), rows, strict=True):
        found = scores(report)
        assert row[2] == f"{found['flip']['value']:.1f}"
        for arm, score, difference in (("pgs", *row[3:5]), ("pgs-mixed", *row[5:7])):
            assert score == f"{found[arm]['value']:.1f}"
            with (REPORTS / report / "comparisons.csv").open(encoding="utf-8") as file:
                (pair,) = (
                    one
                    for one in csv.DictReader(file)
                    if (one["of"], one["candidate"], one["baseline"]) == (GROUP, "flip", arm)
                )
            ends = [-100 * float(pair[end]) for end in ("estimate", "high", "low")]
            middle, low, high = (f"{end:+.1f}".replace("-0.0", "0.0").replace("+0.0", "0.0") for end in ends)
            assert difference.startswith(f"{middle} ({low} to {high}): ")


def test_three_ratios() -> None:
    found = scores("ratio")
    for ratio, *row in table_after("Scenes: three ratios"):
        share = f"{first(ratio) / 100:g}"
        arms = [found[f"{arm} mask_ratio={share}"]["value"] for arm in ("flip", "pgs", "pgs-mixed")]
        assert row[:3] == [f"{value:.1f}" for value in arms]
        assert abs(first(row[3]) - (arms[1] - arms[0])) <= 0.0501


def test_the_parts_of_pgs() -> None:
    photos, scenes = scores("ablation-photos"), scores("ablation")
    shown = {first(cell) for row in table_after("The parts of pgs") for cell in row[1:3]}
    assert shown <= {round(score["value"], 1) for of in (photos, scenes) for score in of.values()}


def test_equal_operations() -> None:
    found = [scores(report) for report in ("equal-compute-photos", "equal-compute")]
    rows = table_after("At equal operations")
    assert {row[0].partition(":")[0] for row in rows} == set(found[0])
    for name, *row in rows:
        arm, row = name.partition(":")[0], [*row, ""]  # none has no lead
        for of, (score, lead) in zip(found, (row[:2], row[2:4]), strict=True):
            assert score == written(of[arm]), arm
            if arm != "none":
                assert abs(first(lead) - (of[arm]["value"] - of["none"]["value"])) <= 0.0501, (arm, lead)
