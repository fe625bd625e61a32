"""What of a run directory or a study is shown in MLflow: names, values, texts. Knows nothing of MLflow.

MLflow's page sorts and compares by metric name and crawls under thousands of names or points. So names
are fixed and few (`MAX_KEYS` a run), curves are thinned (`thin`), and the rest travels as tables.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from statistics import fmean
from typing import Any

from pgsbench.config.search import MEAN
from pgsbench.records import files
from pgsbench.records.run_records import Summary
from pgsbench.records.run_spec import flatten, short
from pgsbench.records.scores import Scores
from pgsbench.records.study_record import StudyRecord, StudyRun
from pgsbench.tracking.rundir import RunDir

#: Keys of ``metrics.jsonl`` that become curves, and their names in MLflow.
CURVES = {
    "loss": "train/loss",
    "lr": "train/lr",
    "samples_per_second": "train/samples_per_second",
    "mask_share": "train/mask_share",
    "mask_ratio_effective": "train/mask_ratio_effective",
}
#: Keys of ``metrics.jsonl`` that are shown among MLflow's system metrics, and their names there; of the first
#: minutes, and so of short runs, they are left out.
SYSTEM = {name: f"system/{name}" for name in ("cores_used", "memory_gib", "gpu_memory_gib")}
SYSTEM_AFTER_SECONDS = 180.0
#: Metric names of one run, curves included.
MAX_KEYS = 60
#: Points of one curve.
MAX_POINTS = 200
#: Rows of the table on a study's page; the report has them all.
MAX_ROWS = 30


def valid_name(name: str) -> str:
    """Return `name` as MLflow accepts it: letters, digits and ``_-.: /``, no empty path segments."""
    clean = re.sub(r"[^\w\-.: /]", "_", name, flags=re.ASCII)
    return "/".join(part for part in clean.split("/") if part.strip(".")) or "_"


def run_params(config: Mapping[str, Any]) -> dict[str, str]:
    """Return a nested configuration as params: words as they are, all else as JSON."""
    return {
        valid_name(path): value if isinstance(value, str) else json.dumps(value)
        for path, value in flatten(config).items()
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


def curve_values(line: Mapping[str, Any]) -> dict[str, float]:
    """Return what of a metric line becomes points of curves, by their names in MLflow."""
    late = line.get("seconds", 0) > SYSTEM_AFTER_SECONDS
    names = CURVES | (SYSTEM if late else {})
    return {name: float(line[key]) for key, name in names.items() if line.get(key) is not None}


def run_metrics(run: RunDir, scores: Scores | None) -> dict[str, float]:
    """Return a run's final metrics: cost, means, then primary scores of tasks, within `MAX_KEYS`."""
    summary = run.summary
    found = {f"summary/{key}": value for key, value in flatten(vars(summary)).items()} if summary else {}
    if summary:
        found["summary/training_time"] = summary.time_on(run.spec.numerics.device)
    if scores is not None:
        found |= {f"score/{group}": value for group, value in group_means(scores).items()}
        found |= {f"score/{one.task}_{one.metric}": one.value for one in scores.primary().values()}
    finite = {valid_name(key): float(rounded(value)) for key, value in found.items() if _is_number(value)}
    return dict(list(finite.items())[: MAX_KEYS - len(CURVES)])


def group_means(scores: Scores) -> dict[str, float]:
    """Return the mean of the groups as `MEAN`, and then the mean of each group."""
    groups = {name: group.value for name, group in scores.groups.items()}
    return {MEAN: fmean(groups.values()), **groups} if groups else {}


def started(run: RunDir) -> datetime:
    """Return when the run began: as it says itself, else the age of its spec."""
    environment = run.environment
    if environment is not None:
        return datetime.fromisoformat(environment.started).astimezone()
    return datetime.fromtimestamp((run.path / files.SPEC).stat().st_mtime).astimezone()


def score_table(scores: Scores) -> dict[str, list[Any]]:
    """Return every score as a table: column -> values."""
    columns = ("task", "group", "metric", "value", "low", "high", "n", "chance", "primary", "notes")
    rows = [vars(score) for score in scores.scores]
    return {
        column: ["; ".join(row[column]) if column == "notes" else rounded(row[column]) for row in rows]
        for column in columns
    }


def arm_rows(record: StudyRecord, runs: Mapping[str, RunDir]) -> list[dict[str, Any]]:
    """Return one row per arm or trial: seeds done, means over seeds of group scores and cost.

    Args:
        record: The study.
        runs: Run directories that exist, by `StudyRun.directory`.
    """
    by_label: dict[str, list[StudyRun]] = {}
    for planned in record.runs:
        by_label.setdefault(planned.spec.label, []).append(planned)
    rows = []
    for label, members in by_label.items():
        found = [(one, runs[one.directory]) for one in members if one.directory in runs]
        done = [(one, run) for one, run in found if run.is_done]
        row: dict[str, Any] = {"arm": label, "seeds": f"{len(done)}/{len(members)}"}
        scores = [run.scores_of(one.suite_fingerprint) for one, run in done]
        row |= _means([group_means(one) for one in scores if one])
        summaries = [(run.summary, one.spec.numerics.device) for one, run in done]
        row |= _means([_cost(summary, device) for summary, device in summaries if summary])
        rows.append(row)
    return rows


def _cost(summary: Summary, device: str) -> dict[str, Any]:
    return {
        "samples_per_second": summary.samples_per_second,
        "training_time": summary.time_on(device),
        "mask_ratio_over_training": summary.mask_ratio_over_training,
        "mask_overlap": summary.mask_overlap,
    }


def study_metrics(
    rows: Sequence[Mapping[str, Any]], groups: Sequence[str], runs: int, done: int
) -> dict[str, float]:
    """Return what a study's own page carries: progress, and the best arm mean of each group."""
    best = {f"study/best_{group}": [row[group] for row in rows if group in row] for group in groups}
    found = {valid_name(key): float(rounded(max(values))) for key, values in best.items() if values}
    return {"study/runs": float(runs), "study/done": float(done), **found}


def study_note(
    record: StudyRecord,
    rows: Sequence[Mapping[str, Any]],
    groups: Sequence[str],
    *,
    table: str,
    charts: str,
) -> str:
    """Return the Markdown text of a study's page: question, arm means, how to reproduce.

    Args:
        record: The study.
        rows: What `arm_rows` returned.
        groups: Names of the groups of scores.
        table: Link to the runs as a table.
        charts: Link to the runs as charts.
    """
    percents = [*groups, "mask_overlap"]
    columns = [*percents, "samples_per_second"]
    lines = [record.config.question.strip(), ""]
    names = ["arm", "seeds done", *(column.replace("_", " ") for column in columns)]
    lines += ["| " + " | ".join(f"{name}&ensp;" for name in names) + " |"]  # the page sets no margins
    lines += ["|:--|--:|" + "--:|" * len(columns)]
    ranked = rows if len(rows) <= MAX_ROWS else sorted(rows, key=lambda row: _rank(row, groups))[:MAX_ROWS]
    for row in ranked:
        values = [_cell(row.get(column), share=column in percents) for column in columns]
        lines.append(f"| {row['arm']}&ensp; | {row['seeds']} | " + " | ".join(values) + " |")
    if len(rows) > MAX_ROWS:
        lines.append(f"\nThe best {MAX_ROWS} of {len(rows)}.")
    lines += [
        "",
        "Means over seeds, scores in percent. Mask overlap: how much two draws of the mask show alike, in "
        "percent. Intervals and paired differences: **Artifacts > report**.",
    ]
    lines += ["", f"All runs of this study: [as a table]({table}), [as charts]({charts}).", ""]
    if record.command:
        lines += [
            "To reproduce (the study file is **Artifacts > study.yaml**):",
            "",
            f"    {record.command}",
        ]
    return "\n".join(lines)


def run_note(run: RunDir, other_names: Sequence[str] = ()) -> str:
    """Return the Markdown text of a run's page: what it is, its other names in the study, where it lies."""
    spec = run.spec
    strategy, text = spec.config.strategy, spec.config.text
    masks = [_call(strategy.name, strategy.fields)]
    masks += [f"text {_call(text.strategy, text.fields)}"] if text.strategy != "none" else []
    return (
        f"{', '.join(masks)}, seed {spec.seed}\n\n"
        + "".join(f"Also: {name}\n\n" for name in other_names)
        + f"Run directory: `{run.path.absolute()}`\n\n"
        f"    pgsbench evaluate {run.path.absolute()}"
    )


def _call(name: str, fields: Mapping[str, Any]) -> str:
    return f"`{name}({', '.join(f'{key}={short(value)}' for key, value in fields.items())})`"


def _means(rows: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    keys = dict.fromkeys(key for row in rows for key in row)
    values = {key: [row[key] for row in rows if _is_number(row.get(key))] for key in keys}
    return {key: fmean(found) for key, found in values.items() if found}


def rounded(value: Any) -> Any:
    """Return a float with six digits, more than any score has; the page shows 0.6499999761581421 in full."""
    return float(f"{value:.6g}") if isinstance(value, float) else value


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and math.isfinite(value)


def _rank(row: Mapping[str, Any], groups: Sequence[str]) -> float:
    return -fmean([float(row.get(group, 0.0)) for group in groups] or [0.0])


def _cell(value: float | None, *, share: bool) -> str:
    if value is None:
        return "–"
    return f"{100 * value:.1f}" if share else f"{value:,.0f}"
