"""Scores as an evaluation would leave them, with the outcome of every item."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from pgsbench.evaluation.scoring import wilson
from pgsbench.records.scores import GroupMean, Score, Scores


def scores_of(scores: Iterable[Score], groups: Mapping[str, GroupMean], **more: Any) -> Scores:
    """Return scores of a suite that nothing else is known of."""
    about: dict[str, Any] = {"suite": "scenes", "suite_version": 1, "suite_fingerprint": "fedcba9876543210"}
    about |= {"checkpoint_sha256": "0" * 64, "num_images": 1000, "num_texts": 100}
    about |= {key: {} for key in ("architecture", "preprocess", "environment", "files", "protocols")}
    return Scores(**about | more, scores=tuple(scores), groups=dict(groups), activations=("GELU",))


def written(
    run: Path, task: str, group: str, metric: str, values: np.ndarray, items: Sequence[str], **more: Any
) -> Score:
    """Write the outcomes of a task's items below a run directory, and return their score."""
    file = f"outcomes/{task.replace('/', '__')}.{metric}.npz"
    (run / "outcomes").mkdir(parents=True, exist_ok=True)
    names = np.array(items)
    outcomes = {"values": values.astype(np.float32), "correct": values.astype(float)}
    np.savez(run / file, **outcomes, items=names, units=names, key="")
    value = float(values.astype(np.float32).mean(dtype=np.float64))
    low, high = wilson(value, len(values))
    about = {"task": task, "group": group, "protocol": "zero_shot", "metric": metric, "per_sample": file}
    return Score(**about, value=value, n=len(values), low=low, high=high, **{"primary": True} | more)


def group_means(scores: Sequence[Score]) -> dict[str, GroupMean]:
    means = {}
    for group in dict.fromkeys(score.group for score in scores):
        of = [score for score in scores if score.group == group and score.primary]
        value, chance = (float(np.mean([getattr(s, key) for s in of])) for key in ("value", "chance"))
        means[group] = GroupMean(value, value - 0.02, value + 0.02, len(of), chance)
    return means
