"""Studies as training would leave them on disk, without training."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pgsbench.tracking.manifest import StudyManifest, StudyRun, write_study
from pgsbench.tracking.rundir import RunDir, write_json

SAMPLES, BATCH = 24_960, 64
TASKS = {
    "classification": ["shape", "colour", "background", "count"],
    "retrieval": ["retrieval"],
    "robustness": [
        f"{shift}-{task}" for shift in ("small", "sketch", "noise") for task in ("shape", "colour")
    ],
    "compositionality": [f"{kind}_{what}" for kind in ("add", "replace") for what in ("obj", "att")],
}

MakeStudy = Callable[..., Path]


def fake_run(
    runs: Path, arm: str, seed: int, *, ratio: float, steps: int, done: bool, gain: float = 0.0
) -> RunDir:
    """Write one run directory as it stands after `steps` of 390 training steps."""
    strategy = {"name": "random", "mask_ratio": ratio, "share": None}
    training = {"samples": SAMPLES, "batch_size": BATCH, "lr": 1e-3}
    config = {
        "data": {"train": "scenes"},
        "model": {"name": "tiny"},
        "strategy": strategy,
        "training": training,
    }
    run = RunDir.create(
        runs,
        {
            "id": f"{arm.replace('.', '')}{seed}{int(100 * ratio)}",
            "study": "ratio",
            "arm": arm,
            "seed": seed,
            "config": {**config, "seed": seed},
            "data_fingerprint": "0123456789abcdef",
        },
    )
    run.write("env.json", {"torch": "2.13", "started": "2026-01-01T10:00:00+00:00", "git": "a1b2c3d"})
    for step in range(1, steps + 1):
        wave = 0.1 * math.sin(step * (seed + 1)) / (1 + step / 100)
        run.append_metrics(fake_line(step, loss=0.8 + 3.2 * math.exp(-step / 90) - gain + wave, ratio=ratio))
    if done:
        finish(run, ratio=ratio, gain=gain + 0.01 * seed)
    return run


def fake_line(step: int, *, loss: float = 1.0, ratio: float = 0.5) -> dict[str, Any]:
    return {
        "step": step,
        "samples": step * BATCH,
        "seconds": step * 0.2,
        "loss": loss,
        "lr": 1e-3 * math.cos(step / 390 * math.pi / 2),
        "samples_per_second": 320 / (1 - 0.6 * ratio),
        "mask_share": 0.004,
        "mask_ratio_effective": ratio,
        "tokens_kept": 64 * (1 - ratio),
    }


def finish(run: RunDir, *, ratio: float, gain: float) -> None:
    """Write what the end of a training and its evaluation leave behind."""
    summary = {
        "steps": 390,
        "samples": SAMPLES,
        "train_seconds": 80 * (1 - 0.6 * ratio),
        "final_loss": 0.8 - gain,
    }
    summary |= {
        "samples_per_second": 320 / (1 - 0.6 * ratio),
        "mask_ratio_effective": ratio,
        "mask_share": 0.004,
    }
    run.write("summary.json", {**summary, "num_parameters": 1_234_567, "peak_memory_bytes": 512 << 20})
    scores, groups = [], {}
    for group, tasks in TASKS.items():
        values = [0.55 + gain + 0.02 * number for number in range(len(tasks))]
        metric = "image_recall_at_5" if group == "retrieval" else "acc1"
        for task, value in zip(tasks, values, strict=True):
            common = {
                "task": f"scenes/{task}",
                "group": group,
                "protocol": "zero_shot",
                "n": 1000,
                "chance": 0.17,
            }
            interval = {"value": value, "low": value - 0.03, "high": value + 0.03}
            scores.append({**common, **interval, "metric": metric, "primary": True, "notes": []})
            scores.append(
                {**common, **interval, "metric": "mean_per_class_recall", "primary": False, "notes": []}
            )
        mean = sum(values) / len(values)
        groups[group] = {"value": mean, "low": mean - 0.02, "high": mean + 0.02, "n_tasks": len(tasks)}
    run.write("scores.json", {"suite": "scenes", "suite_version": 1, "scores": scores, "groups": groups})
    run.checkpoint.mkdir(parents=True, exist_ok=True)
    write_json(run.checkpoint / "open_clip_config.json", {"model_cfg": {"embed_dim": 64}})
    (run.checkpoint / "open_clip_model.safetensors").write_bytes(b"\0" * 4096)
    run.mark_done()


def write_fake_study(root: Path, *, steps: int = 390, done: bool = True, num_seeds: int = 1) -> Path:
    """Write a study of three arms under ``root/runs`` and return its folder."""
    runs, cells = root / "runs", []
    for arm, ratio, gain in (("none", 0.0, 0.05), ("flip-0.5", 0.5, 0.02), ("pgs", 0.75, 0.06)):
        for seed in range(num_seeds):
            run = fake_run(runs, arm, seed, ratio=ratio, steps=steps, done=done, gain=gain)
            cells.append(StudyRun(arm, seed, run.path.relative_to(runs).as_posix()))
    study = {
        "name": "ratio",
        "question": "How much of a picture can be left out?",
        "seeds": list(range(num_seeds)),
    }
    folder = runs / "ratio"
    write_study(
        folder, StudyManifest(study, tuple(cells), "name: ratio\n", "pgsbench sweep studies/ratio.yaml")
    )
    return folder
