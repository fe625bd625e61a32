"""What of a run directory or a study is shown in MLflow: names, values, texts. Knows nothing of MLflow.

MLflow's page sorts and compares by metric name and crawls under thousands of names or points. So names
are fixed and few (`MAX_KEYS` a run), curves are thinned (`thin`), and the rest travels in files. Scores are
in percent.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from statistics import fmean
from typing import Any
from urllib.parse import quote

from pgsbench.config.schema import StudyConfig
from pgsbench.config.search import MEAN
from pgsbench.records import files
from pgsbench.records.run_spec import flatten, short
from pgsbench.records.scores import Scores
from pgsbench.records.study_record import StudyRecord
from pgsbench.tracking.rundir import RunDir

#: Keys of ``metrics.jsonl`` that become curves, and their names in MLflow.
CURVES = {
    "loss": "train/loss",
    "lr": "train/lr",
    "samples_per_second": "train/samples_per_second",
    "mask_share": "train/mask_share",
    "wait_share": "train/wait_share",
    "mask_ratio_effective": "train/mask_ratio_effective",
    "cores_used": "system/cores_used",
    "memory_gib": "system/memory_gib",
    "gpu_memory_gib": "system/gpu_memory_gib",
}
#: Metric names of one run, curves included.
MAX_KEYS = 60
#: Points of one curve.
MAX_POINTS = 200
#: Else the page opens for language models, with what training runs have at its end.
WORKFLOW = "workflowType=machine_learning"
#: Arms whose scores stand on a study's page; the report has them all.
MAX_ARMS = 30


def valid_name(name: str) -> str:
    """Return `name` as MLflow accepts it: letters, digits and ``_-.: /``, no empty path segments."""
    clean = re.sub(r"[^\w\-.: /]", "_", name, flags=re.ASCII)
    return "/".join(part for part in clean.split("/") if part.strip(".")) or "_"


def percent(share: float) -> float:
    """Return a share in percent, with more digits than any score has, but none of rounding."""
    return _rounded(100 * share)


def study_params(config: StudyConfig) -> dict[str, str]:
    """Return what a study sets beside its seeds, which commands add to."""
    beside = {"name", "question", "seeds", "arms", "tuned", "explained"}
    return params_of({**config.model_dump(mode="json", exclude=beside), "arms": ", ".join(config.arm_names)})


def params_of(config: Mapping[str, Any]) -> dict[str, str]:
    """Return what a nested configuration sets as params: words as they are, all else as JSON."""
    return {
        valid_name(path): value if isinstance(value, str) else json.dumps(value)
        for path, value in flatten(config).items()
        if value is not None
    }


def thin(lines: Sequence[Mapping[str, Any]], total_samples: float, *, done: bool) -> list[Mapping[str, Any]]:
    """Return at most about `MAX_POINTS` metric lines: the last of each equal share of the training.

    The share is counted in samples of the whole training, so that a curve fed while it grows ends up
    with the same points as one fed at the end. The last share counts once it is over, or the run is.
    """
    last_of: dict[int, Mapping[str, Any]] = {}
    for line in lines:
        last_of[int(MAX_POINTS * line["samples"] / max(total_samples, 1))] = line
    points = list(last_of.values())
    return points if done else points[:-1]


def curve_points(lines: Sequence[Mapping[str, Any]], start_ms: int) -> list[tuple[str, float, int, int]]:
    """Return metric lines of a run as points ``(name, value, time in ms, step)`` of `CURVES`."""
    return [
        (name, float(line[key]), start_ms + int(1000 * line.get("seconds", 0)), line["step"])
        for line in lines
        for key, name in CURVES.items()
        if line.get(key) is not None
    ]


def score_points(run: RunDir) -> list[tuple[str, float, int, int]]:
    """Return the scores of a run while it was trained as points; see `curve_points`."""
    start_ms = started_ms(run)
    return [
        (valid_name(f"during/{name}"), percent(value), start_ms + int(1000 * one.seconds), one.step)
        for one in run.curve()
        for name, value in {**one.scores, **one.groups}.items()
    ]


def run_metrics(run: RunDir, scores: Scores | None) -> dict[str, float]:
    """Return a run's final metrics: cost, means, then primary scores of tasks, within `MAX_KEYS`."""
    found: dict[str, Any] = {}
    if summary := run.summary:
        found = {f"summary/{key}": value for key, value in flatten(vars(summary)).items()}
    if scores is not None:
        found |= {f"score/{group}": 100 * value for group, value in group_means(scores).items()}
        found |= {f"score/{one.task}_{one.metric}": 100 * one.value for one in scores.primary().values()}
    numbers = {key: value for key, value in found.items() if isinstance(value, int | float)}
    finite = {valid_name(key): _rounded(value) for key, value in numbers.items() if math.isfinite(value)}
    return dict(list(finite.items())[: MAX_KEYS - len(CURVES)])


def group_means(scores: Scores) -> dict[str, float]:
    """Return the mean of the groups as `MEAN`, and then the mean of each group, as shares."""
    groups = {name: group.value for name, group in scores.groups.items()}
    return {MEAN: fmean(groups.values()), **groups} if groups else {}


def started_ms(run: RunDir) -> int:
    """Return when the run began: as it says itself, else the age of its spec."""
    environment = run.environment
    if environment is not None:
        return int(1000 * datetime.fromisoformat(environment.started).timestamp())
    return int(1000 * (run.path / files.SPEC).stat().st_mtime)


def study_note(record: StudyRecord, experiment: str) -> str:
    """Return the Markdown text of a study's page: its question, and how to reproduce it.

    Args:
        record: The study.
        experiment: MLflow's id of the experiment.
    """
    lines = [
        record.config.question.strip(),
        "Scores are means over seeds in percent. Intervals and paired differences: **Artifacts > report**. "
        f"[All runs side by side]({runs_path(experiment, record.config.name)}).",
    ]
    if record.command:
        lines.append(f"To reproduce (the study file is **Artifacts > study.yaml**):\n\n    {record.command}")
    return "\n\n".join(lines)


def study_metrics(record: StudyRecord, runs: Mapping[str, RunDir]) -> dict[str, float]:
    """Return the mean score of each arm or point over the seeds that are done, in percent.

    Args:
        record: The study.
        runs: Run directories that exist, by `Entry.directory`; of many arms the highest are told.
    """
    values: dict[str, list[float]] = {}
    for planned in record.runs:
        run = runs.get(planned.directory)
        scores = run.scores_of(planned.suite_fingerprint) if run and run.is_done else None
        if scores is not None and scores.groups:
            values.setdefault(planned.spec.label, []).append(group_means(scores)[MEAN])
    means = sorted(((fmean(found), label) for label, found in values.items()), reverse=True)
    return {valid_name(f"score/{label}"): percent(mean) for mean, label in means[:MAX_ARMS]}


def runs_path(experiment: str, study: str, kind: str = "run") -> str:
    """Return where MLflow's page shows the runs of a study, or its arms (``"arm"``), side by side.

    It shows charts, as its table has no scores until somebody asks for them.
    """
    wanted = quote(f"tags.study = '{study}' and tags.kind = '{kind}'")
    shown = f"&orderByKey=metrics.%60score%2F{MEAN}%60&compareRunsMode=CHART"
    return f"#/experiments/{experiment}/runs?{WORKFLOW}&searchFilter={wanted}{shown}"


def run_note(run: RunDir, other_names: Sequence[str] = ()) -> str:
    """Return the Markdown text of a run's page: what it is, its other names in the study, where it lies."""
    spec = run.spec
    strategy, text = spec.config.strategy, spec.config.text
    masks = [_call(strategy.name, strategy.fields)]
    masks += [f"text {_call(text.strategy, text.fields)}"] if text.strategy != "none" else []
    return (
        f"{', '.join(masks)}, seed {spec.seed}\n\n"
        + "".join(f"Also: {name}\n\n" for name in other_names)
        + f"    pgsbench evaluate {run.path.absolute()}"
    )


def _call(name: str, fields: Mapping[str, Any]) -> str:
    return f"`{name}({', '.join(f'{key}={short(value)}' for key, value in fields.items())})`"


def _rounded(value: float) -> float:
    """Return a number with six digits; the page shows 64.99999761581421 in full."""
    return float(f"{value:.6g}")
