"""Suites of public data sets, and what of them is there."""

from __future__ import annotations

from pathlib import Path

from pgsbench.evaluation.availability import Availability, survey
from pgsbench.evaluation.suite import Suite, load_suite


def suite_of(folder: Path, *tasks: str) -> Suite:
    path = folder / "mine.yaml"
    path.write_text("name: mine\ntasks:\n" + "".join(f"  - {task}\n" for task in tasks))
    return load_suite(path)


def classes(name: str, **more: object) -> str:
    extra = "".join(f", {key}: {value}" for key, value in more.items())
    return f'{{name: {name}, data: "clip_benchmark:{name}", protocol: zero_shot, group: g{extra}}}'


def states(suite: Suite) -> dict[str, Availability]:
    return {one.data.partition(":")[2]: one for one in survey(suite)}
