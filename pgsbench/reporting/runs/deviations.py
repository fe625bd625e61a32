"""In what a study deviates from the published setting of CLIP-PGS, as a DataFrame and as a table."""

from __future__ import annotations

import json
from typing import Any

import pandas as pd

from pgsbench.reporting.render import Table, counted
from pgsbench.study.published import Compared, compare_with_published
from pgsbench.study.study_file import StudyFile

_COLUMNS = ("setting", "here", "published", "why", "arms", "source")

_SOURCES = (
    "script: clip-train.sh of github.com/clip-pgs/CLIP-PGS; default: what its training/params.py takes where "
    "the script says nothing; open_clip: what that leaves to open_clip."
)


def deviation_frame(file: StudyFile) -> pd.DataFrame:
    """Return one row for each setting of a study that is not the published one.

    Columns: setting, here, published, why (None where the study does not explain it), arms (names, joined by
    commas) and source. ``frame.attrs["notes"]`` says what was compared.

    Raises:
        ConfigError: The study explains a setting that no arm has.
    """
    found = compare_with_published(file)
    rows = [
        (one.setting, one.here, one.published, one.why, _whose(one.arms, found), one.source)
        for one in found.deviations
    ]
    frame = pd.DataFrame(rows, columns=list(_COLUMNS), dtype=object)
    frame.attrs["notes"] = _notes(found)
    return frame


def deviation_table(study: str, frame: pd.DataFrame) -> Table:
    """Return the frame as a table."""
    rows: list[list[object]] = [
        [
            *(one["setting"], _shown(one["here"]), _shown(one["published"])),
            *(one["why"] or "NOT EXPLAINED", one["arms"], one["source"]),
        ]
        for one in frame.to_dict("records")
    ]
    title = f"How {study} deviates from the published setting of CLIP-PGS (arXiv 2503.17080)"
    return Table(title, [*_COLUMNS], rows, frame.attrs["notes"])


def _whose(arms: tuple[str, ...], found: Compared) -> str:
    return "all" if len(arms) == len(found.methods) else ", ".join(arms)


def _shown(value: Any) -> str:
    if isinstance(value, str):
        return value
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else json.dumps(value)


def _notes(found: Compared) -> list[str]:
    unexplained = sum(one.why is None for one in found.deviations)
    total = counted(len(found.deviations), "deviation")
    notes = [f"{total}, {unexplained} not explained." if found.deviations else "Nothing deviates."]
    methods = {arm: method for arm, method in found.methods.items() if method}
    if methods:
        pairs = ", ".join(
            arm if arm == one.name else f"{arm} with {one.name}" for arm, one in methods.items()
        )
        notes.append(f"Compared with the method of the paper: {pairs}.")
    others = [arm for arm in found.methods if arm not in methods]
    if others:
        notes.append(f"No method of the paper masks so, so masks are not compared: {', '.join(others)}.")
    notes.append(_SOURCES)
    left = dict.fromkeys((method.settings["strategy.name"].value, method.open) for method in methods.values())
    notes += [
        f"Left open in what is published, so not compared, of {name}: {', '.join(paths)}."
        for name, paths in left
        if paths
    ]
    beyond: dict[str, list[str]] = {}
    for arm, method in methods.items():
        if method.beyond:
            beyond.setdefault(method.beyond, []).append(arm)
    return notes + [f"Beyond settings ({', '.join(arms)}): {said}" for said, arms in beyond.items()]
