"""Studies as training would leave them on disk, without training: one for MLflow, one for lists of runs."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from made_scores import group_means, scores_of, written

from pgsbench.config.schema import RunConfig, StudyConfig
from pgsbench.records.json_files import write_json
from pgsbench.records.run_records import Environment, Summary
from pgsbench.records.run_spec import Numerics, RunSpec
from pgsbench.records.scores import GroupMean, Score, Scores
from pgsbench.records.study_record import Entry, StudyRecord
from pgsbench.records.verdict_record import ScoreInterval, VerdictRecord
from pgsbench.tracking.rundir import RunDir

#: Makes a new MLflow store and returns its tracking URI.
NewStore = Callable[[str], str]

SAMPLES, BATCH, STEPS = 24_960, 64, 390
DATA = "0123456789abcdef"
TASKS = {
    "classification": ["shape", "colour", "background", "count"],
    "retrieval": ["retrieval"],
    "robustness": [
        f"{shift}-{task}" for shift in ("small", "sketch", "noise") for task in ("shape", "colour")
    ],
    "compositionality": [f"{kind}_{what}" for kind in ("add", "replace") for what in ("obj", "att")],
}

#: The tasks of `write_study`, and how many items each has.
TWO_TASKS = {"tiny/colour": "classification", "tiny/retrieval": "retrieval"}
NUM_ITEMS = 40
TRAINING = {"samples": SAMPLES, "batch_size": BATCH}


def spec_of(
    arm: str = "flip",
    seed: int = 0,
    *,
    ratio: float = 0.5,
    study: str = "tiny",
    params: Mapping[str, Any] | None = None,
) -> RunSpec:
    """Return the spec of a run as a study would plan it."""
    params = dict(params or {})
    strategy = {"name": arm, "mask_ratio": params.get("strategy.mask_ratio", ratio)}
    config = {"model": "tiny-vit", "strategy": strategy, "training": TRAINING, "seed": seed}
    return RunSpec.of(
        study=study,
        arm=arm,
        config=RunConfig.model_validate(config),
        data=DATA,
        strategy_code=arm,
        model_file="",
        numerics=Numerics("cpu", "fp32", "2.13.0", 1),
        params=params,
    )


def fake_run(runs: Path, spec: RunSpec, *, steps: int, done: bool, gain: float = 0.0) -> RunDir:
    """Write one run directory as it stands after some of its `STEPS` training steps."""
    run, ratio = RunDir.create(runs, spec), spec.config.strategy.fields["mask_ratio"]
    run.write_environment(
        Environment(started="2026-01-01T10:00:00+00:00", device="cpu", threads=1, git="a1b2c3d")
    )
    for step in range(1, steps + 1):
        wave = 0.1 * math.sin(step * (spec.seed + 1)) / (1 + step / 100)
        run.append_metrics(fake_line(step, loss=0.8 + 3.2 * math.exp(-step / 90) - gain + wave, ratio=ratio))
    if done:
        finish(run, gain=gain + 0.01 * spec.seed)
    return run


def fake_line(step: int, *, loss: float = 1.0, ratio: float = 0.5) -> dict[str, Any]:
    return {
        "step": step,
        "samples": step * BATCH,
        "seconds": step * 0.2,
        "loss": loss,
        "lr": 1e-3 * math.cos(step / STEPS * math.pi / 2),
        "samples_per_second": 320 / (1 - 0.6 * ratio),
        "mask_share": 0.004,
        "mask_ratio_effective": ratio,
        "tokens_kept": 64 * (1 - ratio),
    }


def fake_summary(ratio: float = 0.5, *, final_loss: float = 0.8) -> Summary:
    return Summary(
        steps=STEPS,
        samples=SAMPLES,
        train_seconds=80 * (1 - 0.6 * ratio),
        train_cpu_seconds=100 * (1 - 0.6 * ratio),
        samples_per_second=320 / (1 - 0.6 * ratio),
        mask_share=0.004,
        mask_ratio_effective=ratio,
        mask_overlap=1 - ratio,
        visual_tokens=int(SAMPLES * 64 * (1 - ratio)),
        num_parameters=1_234_567,
        final_loss=final_loss,
        mask_ratio_over_training=ratio,
        tokens_kept_over_training=64 * (1 - ratio),
    )


def fake_scores(gain: float = 0.0) -> Scores:
    """Return scores in which each group begins at 0.55 + gain."""
    scores, groups = [], {}
    for group, tasks in TASKS.items():
        values = [0.55 + gain + 0.02 * number for number in range(len(tasks))]
        metric = "image_recall_at_5" if group == "retrieval" else "acc1"
        for task, value in zip(tasks, values, strict=True):
            scores += [
                fake_score(f"scenes/{task}", group, name, value, primary=name == metric)
                for name in (metric, "mean_per_class_recall")
            ]
        mean = sum(values) / len(values)
        groups[group] = GroupMean(mean, mean - 0.02, mean + 0.02, n_tasks=len(tasks), chance=0.17)
    return scores_of(scores, groups)


def fake_score(task: str, group: str, metric: str, value: float, *, primary: bool) -> Score:
    low, high = value - 0.03, value + 0.03
    return Score(task, group, "zero_shot", metric, value, 1000, low, high, chance=0.17, primary=primary)


def finish(run: RunDir, *, gain: float = 0.0) -> None:
    """Write what the end of a training and its evaluation leave behind."""
    run.write_summary(
        fake_summary(run.spec.config.strategy.fields["mask_ratio"], final_loss=0.8 - gain),
    )
    fake_scores(gain).write(run.path)
    write_json(run.checkpoint / "open_clip_config.json", {"model_cfg": {"embed_dim": 64}})
    (run.checkpoint / "open_clip_model.safetensors").write_bytes(b"\0" * 4096)
    run.mark_done()


def write_fake_study(root: Path, *, steps: int = STEPS, done: bool = True, num_seeds: int = 1) -> Path:
    """Write a study of three arms under ``root/runs`` and return its folder."""
    runs, specs = root / "runs", []
    for arm, ratio, gain in (("none", 0.0, 0.05), ("flip-0.5", 0.5, 0.02), ("pgs", 0.75, 0.06)):
        for seed in range(num_seeds):
            specs.append(spec_of(arm, seed, ratio=ratio, study="ratio"))
            fake_run(runs, specs[-1], steps=steps, done=done, gain=gain)
    record = StudyRecord(
        config=StudyConfig(
            name="ratio", question="How much of a picture can be left out?", seeds=list(range(num_seeds))
        ),
        runs=tuple(Entry(spec, spec.folder) for spec in specs),
        source="name: ratio\n",
        command="pgsbench sweep studies/ratio.yaml",
    )
    record.write(runs / "ratio")
    return runs / "ratio"


def write_verdict(report: Path, labels: list[str]) -> Path:
    scores = {label: {"mean of groups": ScoreInterval(0.5, 0.4, 0.6)} for label in labels}
    VerdictRecord(
        study="ratio",
        question="?",
        answer="pgs is better than none.",
        certainty="2 seeds.",
        setting="tiny-vit.",
        arms=tuple(labels),
        date="",
        versions={},
        headline="mean of groups",
        outcomes={"pgs − none": "better"},
        compared={"pgs − none": ("pgs", "none")},
        scores=scores,
    ).write(report)
    return report


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
    values, items = np.arange(NUM_ITEMS) < round(share * NUM_ITEMS), [f"i{i}" for i in range(NUM_ITEMS)]
    scores = [
        written(run.path, task, group, "acc1", values, items, chance=0.25)
        for task, group in TWO_TASKS.items()
    ]
    scores_of(scores, group_means(scores), suite="tiny", suite_fingerprint="").write(run.path)


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
        "training": TRAINING,
        "seeds": seeds,
    }
    config |= {"arms": {"flip": {"strategy": "flip"}}, "search": search}
    record = StudyRecord(
        StudyConfig.model_validate(config),
        tuple(Entry(spec, spec.folder) for spec, _ in asked),
    )
    record.write(root / name)
    return runs


class Seen:
    """What an MLflow store has, by run name."""

    def __init__(self, uri: str) -> None:
        from mlflow import MlflowClient

        self.client = MlflowClient(tracking_uri=uri)
        self.experiment = self.client.get_experiment_by_name("pgsbench")
        self.runs = {
            run.info.run_name: run for run in self.client.search_runs([self.experiment.experiment_id])
        }

    def curve(self, run: str, name: str = "train/loss") -> list[tuple[int, float]]:
        history = self.client.get_metric_history(self.runs[run].info.run_id, name)
        return [(point.step, point.value) for point in history]

    def artifacts(self, run: str, folder: str | None = None) -> list[str]:
        found = []
        for item in self.client.list_artifacts(self.runs[run].info.run_id, folder):
            found += self.artifacts(run, item.path) if item.is_dir else [item.path]
        return sorted(found)

    def everything(self) -> dict[str, Any]:
        return {
            name: (run.data.metrics, run.data.params, self.curve(name), self.artifacts(name), run.info.status)
            for name, run in self.runs.items()
        }
