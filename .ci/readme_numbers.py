"""Fills the marked numbers of the README from the committed reports: ``make readme-numbers``.

A number stands between two comments, which GitHub does not show; the first names where it comes from::

    <!-- decided-photos: pgs - flip, mean of groups -->-0.1, -0.2 to +0.1<!-- / -->
    <!-- decided-photos: pgs, mean of groups -->4.6<!-- / -->
    <!-- validity: photos - baselines, Spearman -->0.73 (0.45 to 1.00; with other arms 0.02 to 0.98)<!-- / -->

The first is a difference in points with its interval, of ``comparisons.csv`` (a pair may be turned round);
the second a score in percent, of ``verdict.json``, both of the folder ``reports/examples/decided-photos``.
The third is how well the second report orders its arms as the first one does (``pgsbench validity``).
"""

from __future__ import annotations

import csv
import json
import re
from pathlib import Path

ROOT = Path(__file__).parents[1]
MARKED = re.compile(r"(<!-- ([\w-]+): ([^>]+?), ([^,>]+?) -->)(.*?)(<!-- / -->)", re.DOTALL)


def filled(text: str, reports: Path = ROOT / "reports/examples") -> str:
    """Return a page with its marked numbers as the reports have them.

    Raises:
        SystemExit: A report has no such number.
    """
    return MARKED.sub(lambda m: f"{m[1]}{_number(reports / m[2], m[3], m[4])}{m[6]}", text)


def _number(report: Path, of: str, group: str) -> str:
    ours, is_pair, theirs = of.partition(" - ")
    if report.name == "validity":
        return _agreement(report.with_name(ours), report.with_name(theirs))
    found = _difference(report, ours, theirs, group) if is_pair else _score(report, ours, group)
    if found is None:
        raise SystemExit(f"README.md: {report} has no {of!r} on {group!r}")
    return found


def _difference(report: Path, ours: str, theirs: str, group: str) -> str | None:
    with (report / "comparisons.csv").open(encoding="utf-8") as file:
        for row in csv.DictReader(file):
            pair = row["candidate"], row["baseline"]
            if row["of"] != group or set(pair) != {ours, theirs} or not row["estimate"]:
                continue
            ends = [100 * float(row[name]) for name in ("estimate", "low", "high")]
            if pair != (ours, theirs):
                ends = [-ends[0], -ends[2], -ends[1]]
            middle, low, high = map(_points, ends)
            return f"{middle}, {low} to {high}"
    return None


def _agreement(reference: Path, world: Path) -> str:
    import pgsbench

    (match,) = pgsbench.validity(str(reference), [str(world)]).matches
    found = match.agreement
    here, others = found.spearman, found.other_arms
    ends = f"{here.low:.2f} to {here.high:.2f}; with other arms {others[0]:.2f} to {others[1]:.2f}"
    return f"{here.estimate:.2f} ({ends})"


def _points(value: float) -> str:
    text = f"{value:+.1f}"
    return "0.0" if float(text) == 0 else text


def _score(report: Path, label: str, group: str) -> str | None:
    said = json.loads((report / "verdict.json").read_text(encoding="utf-8"))["scores"]
    score = said.get(label, {}).get(group)
    return None if score is None else f"{100 * score['value']:.1f}"


if __name__ == "__main__":
    page = ROOT / "README.md"
    page.write_text(filled(page.read_text(encoding="utf-8")), encoding="utf-8")
