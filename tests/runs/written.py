"""Runs as a study leaves them on disk, written through the records: two arms, two seeds, two tasks."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from study_records import write_study_record

from pgsbench.config.schema import RunConfig, StudyConfig
from pgsbench.evaluation.scoring import wilson
from pgsbench.records.json_files import write_record
from pgsbench.records.run_records import Environment, Summary
from pgsbench.records.run_spec import Numerics, RunSpec
from pgsbench.records.scores import GroupMean, Score, Scores
from pgsbench.records.study_record import StudyRecord, StudyRun
from pgsbench.tracking.rundir import RunDir

TASKS = {"tiny/colour": "classification", "tiny/retrieval": "retrieval"}
NUM_ITEMS = 40


def spec_of(
    arm: str, seed: int, *, params: Mapping[str, Any] | None = None, study: str = "tiny", **changed: Any
) -> RunSpec:
    params = dict(params or {})
    strategy = {"name": arm, "mask_ratio": params.get("strategy.mask_ratio", 0.5)}
    config = RunConfig.model_validate({"model": "tiny-vit", "strategy": strategy, "seed": seed})
    fields = {
        "study": study,
        "arm": arm,
        "params": params,
        "config": config,
        "data": "a1b2c3d4",
        "strategy_code": arm,
        "model_file": "",
        "numerics": Numerics("cpu", "fp32", "2.13.0", 1),
    }
    return RunSpec.of(**(fields | changed))


def write_run(root: Path, spec: RunSpec, score: float, *, started: str, done: bool = True) -> RunDir:
    """Write a run whose share of right answers on both tasks is `score`."""
    run = RunDir.create(root, spec)
    run.write_environment(Environment(started, "cpu", 1, versions={"torch": "2.13.0"}))
    run.append_metrics({"step": 1, "samples": 32, "loss": 2.0})
    if not done:
        return run
    run.write_summary(Summary(1, 32, 1.0, 1.0, 32.0, 0.0, 0.5, 0.3, 8, 8, 1000, 2.0))
    write_scores(run, score)
    run.mark_done()
    return run


def write_scores(run: RunDir, share: float) -> None:
    scores = []
    values = (np.arange(NUM_ITEMS) < round(share * NUM_ITEMS)).astype(np.float32)
    (run.path / "outcomes").mkdir()
    for task, group in TASKS.items():
        file = f"outcomes/{task.replace('/', '__')}.acc1.npz"
        items = np.array([f"i{i}" for i in range(NUM_ITEMS)])
        np.savez(
            run.path / file, values=values, correct=values.astype(float), items=items, units=items, key=""
        )
        value = float(values.mean(dtype=np.float64))
        low, high = wilson(value, NUM_ITEMS)
        interval = {"value": value, "low": low, "high": high, "chance": 0.25}
        named = {"task": task, "group": group, "protocol": "zero_shot", "metric": "acc1", "primary": True}
        scores.append(Score(**named, **interval, n=NUM_ITEMS, per_sample=file))
    groups = {score.group: GroupMean(score.value, score.low, score.high, 1, 0.25) for score in scores}
    empty: dict[str, Any] = {
        key: {} for key in ("architecture", "preprocess", "environment", "files", "protocols")
    }
    record = Scores(
        suite="tiny",
        suite_version=1,
        suite_fingerprint="",
        checkpoint_sha256="0" * 64,
        mask=None,
        scores=tuple(scores),
        groups=groups,
        num_images=NUM_ITEMS,
        num_texts=3,
        activations=("GELU",),
        **empty,
    )
    write_record(run.path / "scores.json", record)


def write_study(output: Path, *, name: str = "tiny", search: Mapping[str, Any] | None = None) -> list[RunDir]:
    """Write ``runs/tiny``: pgs and flip with seeds 0 and 1; of a search, pgs at two ratios with seed 0."""
    root = output / "runs"
    if search is None:
        asked = [
            (spec_of("pgs", 0, study=name), 0.7),
            (spec_of("pgs", 1, study=name), 0.75),
            (spec_of("flip", 0, study=name), 0.5),
            (spec_of("flip", 1, study=name), 0.45),
        ]
    else:
        asked = [
            (spec_of("pgs", 0, study=name, params={"strategy.mask_ratio": ratio}), score)
            for ratio, score in ((0.5, 0.6), (0.75, 0.8))
        ]
    runs = [
        write_run(root, spec, score, started=f"2026-01-0{day}T10:00:00+00:00")
        for day, (spec, score) in enumerate(asked, start=1)
    ]
    seeds = sorted({spec.seed for spec, _ in asked})
    config = {
        "name": name,
        "strategy": {"name": "pgs", "mask_ratio": 0.5},
        "model": "tiny-vit",
        "seeds": seeds,
    }
    config |= {"arms": {"flip": {"strategy": "flip"}}, "search": search}
    record = StudyRecord(
        StudyConfig.model_validate(config),
        tuple(StudyRun(spec, spec.folder) for spec, _ in asked),
    )
    write_study_record(record, root / name)
    return runs
