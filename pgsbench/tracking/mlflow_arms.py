"""The mirror of a study's arms in MLflow: one run an arm, its seeds below it, with means and intervals.

They are written once a report has a verdict, from that verdict and from run directories. MLflow keeps every
point that it was sent, so an arm with another number of seeds is a new run, and the old one is deleted.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence

import numpy as np
from scipy import stats

from pgsbench.config.search import MEAN
from pgsbench.records.study_record import StudyRecord
from pgsbench.records.verdict_record import ALL_GROUPS, VerdictRecord
from pgsbench.tracking import mlflow_text
from pgsbench.tracking.mlflow_run import MlflowRun
from pgsbench.tracking.rundir import RunDir


def sync_arms(
    parent: MlflowRun,
    record: StudyRecord,
    runs: Mapping[str, RunDir],
    known: Mapping[str, MlflowRun],
    verdict: VerdictRecord,
) -> dict[str, MlflowRun]:
    """Bring the arms of a study up to date and return them by label.

    Args:
        parent: The study's own run.
        record: The study.
        runs: Run directories that exist, by `StudyRun.directory`.
        known: Runs of the study that the store has, by `id`.
        verdict: What the study's report says.
    """
    found = {}
    for label in dict.fromkeys(run.spec.label for run in record.runs):
        planned = [run.directory for run in record.runs if run.spec.label == label]
        done = [runs[name] for name in planned if name in runs and runs[name].is_done]
        if not done or not verdict.scores.get(label):
            continue
        id_ = f"arm:{label}:{len(done)}"
        for old in [one for key, one in known.items() if key.startswith(f"arm:{label}:") and key != id_]:
            parent.client.delete_run(old.id)
        entry = known.get(id_)
        if entry is None:
            start_ms = min(mlflow_text.started_ms(run) for run in done)
            name = f"{label}, {len(done)} seed{'' if len(done) == 1 else 's'}"
            tags = {"kind": "arm", "study": parent.tag("study"), "id": id_, "label": label}
            entry = MlflowRun.create(parent.client, parent.run.info.experiment_id, name, tags, start_ms)
            entry.points(curve_points([run.metrics() for run in done]))
        entry.tags({**arm_tags(label, verdict), "mlflow.parentRunId": parent.id})
        entry.values(score_metrics(verdict, label))
        entry.status("FINISHED", int(1000 * time.time()))
        found[label] = entry
    return found


def score_metrics(verdict: VerdictRecord, label: str) -> dict[str, float]:
    """Return an arm's scores and the ends of their intervals in percent, of all groups as ``score/mean``."""
    found: dict[str, float] = {}
    for group, score in verdict.scores[label].items():
        name = mlflow_text.valid_name(f"score/{MEAN if group == ALL_GROUPS else group}")
        ends = {name: score.value, f"{name}_low": score.low, f"{name}_high": score.high}
        found |= {key: mlflow_text.percent(value) for key, value in ends.items()}
    return found


def arm_tags(label: str, verdict: VerdictRecord) -> dict[str, str]:
    """Return the verdict of an arm's comparisons as a tag, and that of the study as its note."""
    said = [
        f"{pair}: {outcome}"
        for pair, outcome in verdict.outcomes.items()
        if label in verdict.compared.get(pair, ())
    ]
    note = f"**{verdict.answer}**\n\n{verdict.certainty} {verdict.setting}"
    return {"verdict": "; ".join(said) or "not compared", "mlflow.note.content": note}


def curve_points(seeds: Sequence[Sequence[Mapping[str, float]]]) -> list[tuple[str, float, int, int]]:
    """Return the mean loss of some seeds with 95 % t bounds, where each of them has logged it.

    Args:
        seeds: The metric lines of each seed.
    """
    by_step = [{int(line["step"]): line["loss"] for line in lines if "loss" in line} for lines in seeds]
    steps = sorted(set.intersection(*map(set, by_step)))
    steps = steps[:: max(1, len(steps) // mlflow_text.MAX_POINTS)]
    found = []
    for step in steps:
        losses = np.array([of_seed[step] for of_seed in by_step])
        ends = {"train/loss": float(losses.mean())}
        if len(losses) > 1:
            error = losses.std(ddof=1) / np.sqrt(len(losses))
            reach = float(stats.t.ppf(0.975, len(losses) - 1) * error)
            ends["train/loss_low"], ends["train/loss_high"] = losses.mean() - reach, losses.mean() + reach
        found += [(name, float(value), step, step) for name, value in ends.items()]
    return found
