"""Fabricated studies: run directories as a real study leaves them, with known effects."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from made_scores import group_means, scores_of, written
from scipy.stats import norm

from pgsbench.config.schema import BudgetConfig, RunConfig, StudyConfig
from pgsbench.records import files
from pgsbench.records.run_records import Environment, Summary
from pgsbench.records.run_spec import Numerics, RunSpec
from pgsbench.records.scores import Score, Scores
from pgsbench.records.study_record import Entry, Importances, StudyRecord
from pgsbench.tracking.rundir import RunDir

#: task -> (group, primary metric, other metrics, chance, items, rate of the base); same items: same pictures.
TASKS: dict[str, tuple[str, str, tuple[str, ...], float, str, float]] = {
    "scenes/shape": ("classification", "acc1", ("mean_per_class_recall",), 1 / 6, "test", 0.45),
    "scenes/colour": ("classification", "acc1", ("mean_per_class_recall",), 0.25, "test", 0.8),
    "scenes/count": ("classification", "acc1", (), 1 / 3, "test", 0.5),
    "scenes/retrieval": ("retrieval", "text_recall_at_5", ("image_recall_at_5",), 0.01, "retrieval", 0.35),
    "scenes/sketch": ("robustness", "acc1", (), 1 / 6, "sketch", 0.3),
    "scenes/noise": ("robustness", "acc1", (), 1 / 6, "noise", 0.38),
    "scenes/replace_obj": ("compositionality", "acc", (), 0.5, "pairs", 0.8),
    "scenes/swap_att": ("compositionality", "acc", (), 0.5, "pairs", 0.78),
}

CPU = Numerics(device="cpu", precision="fp32", torch="2.13.0", threads=2)


@dataclass
class Arm:
    """One fabricated arm: how much better than the base it is, in points, by group, and what it costs."""

    effect: float = 0.0
    by_group: Mapping[str, float] = field(default_factory=dict)
    mask_ratio: float = 0.5
    params: Mapping[str, Any] = field(default_factory=dict)
    strategy: Mapping[str, Any] = field(default_factory=dict)
    training: Mapping[str, Any] = field(default_factory=dict)
    numerics: Numerics = CPU
    data: str = "a1b2c3d4e5f60718"
    text: str = "none"
    budget: BudgetConfig | None = None
    reading: Mapping[str, Any] = field(default_factory=dict)
    flops: int | None = None

    @property
    def is_on_gpu(self) -> bool:
        return self.numerics.device == "cuda"


GPU = Numerics(device="cuda", precision="bf16", torch="2.13.0", threads=0)


def on_gpu(arm: Arm) -> Arm:
    return replace(arm, numerics=GPU)


ARMS = {
    "pgs": Arm(2.0, {"classification": 3.5, "robustness": 2.5}, strategy={"tau": 0.2, "rounds": 10}),
    "none": Arm(4.0, mask_ratio=0.0),
    "flip": Arm(0.0, strategy={}),
    "random": Arm(-1.0),
    "oracle": Arm(8.0),
}


def write_runs(
    root: Path,
    arms: Mapping[str, Arm] | Sequence[tuple[str, Arm]],
    *,
    name: str = "masks",
    seeds: Sequence[int] = (0, 1, 2),
    num_items: int = 400,
    seed_sd: float = 0.03,
    rng_seed: int = 0,
    search: Mapping[str, Any] | None = None,
    importances: Importances | None = None,
) -> Path:
    """Write ``root/name`` with one run per arm and seed; returns the study folder."""
    rng = np.random.default_rng(rng_seed)
    pairs = list(arms.items()) if isinstance(arms, Mapping) else list(arms)
    difficulty = {task: rng.normal(size=num_items) for task in TASKS}
    runs = []
    for arm_name, arm in pairs:
        taste = {task: rng.normal(0, 0.5, num_items) for task in TASKS}
        for seed in seeds:
            spec = _spec(name, arm_name, arm, seed)
            run = RunDir.create(root, spec)
            luck = rng.normal(0, seed_sd)
            _write_scores(run, arm, difficulty, taste, luck, rng)
            _write_cost(run, arm_name, arm, rng)
            _write_gallery(run, arm, rng)
            run.mark_done()
            runs.append(Entry(spec, f"{name}/{run.path.name}"))
    said = {"name": name, "question": "Does pgs keep what matters, at half the patches?"}
    config = StudyConfig.model_validate({**said, "seeds": list(seeds), "search": search})
    command = f"pgsbench compare --study studies/{name}.yaml --baselines flip,random,none,oracle"
    record = StudyRecord(config, tuple(runs), command=command, importances=importances)
    record.write(root / name)
    return root / name


def replace_runs(folder: Path, change: Callable[[Entry], Entry], **fields: Any) -> None:
    """Change the runs in the record of a study, and perhaps other fields of it."""
    record = StudyRecord.read(folder)
    replace(record, runs=tuple(map(change, record.runs)), **fields).write(folder)


def replace_scores(run: Path, change: Callable[[Score], Score | None], **fields: Any) -> None:
    """Change or drop the scores of a run, and perhaps other fields of their file."""
    scores = Scores.read(run)
    changed = tuple(new for score in scores.scores if (new := change(score)) is not None)
    replace(scores, scores=changed, **fields).write(run)


def _spec(study: str, arm_name: str, arm: Arm, seed: int) -> RunSpec:
    searched = {
        path.removeprefix("strategy."): value for path, value in arm.params.items() if path != "text.strategy"
    }
    strategy = {"name": arm_name, "mask_ratio": arm.mask_ratio, **arm.strategy, **searched}
    config = {"model": "scenes-vit", "strategy": strategy, "training": dict(arm.training), "seed": seed}
    config["text"] = arm.params.get("text.strategy", arm.text)
    config["budget"] = arm.budget
    return RunSpec.of(
        study=study,
        arm=arm_name,
        params=dict(arm.params),
        config=RunConfig.model_validate(config),
        data=arm.data,
        strategy_code=arm_name,
        text_code=config["text"],
        reading=dict(arm.reading),
        model_file="",
        numerics=arm.numerics,
    )


def _write_scores(
    run: RunDir,
    arm: Arm,
    difficulty: Mapping[str, np.ndarray],
    taste: Mapping[str, np.ndarray],
    luck: float,
    rng: np.random.Generator,
) -> None:
    scores = []
    for task, (group, metric, others, chance, items, rate) in TASKS.items():
        z = norm.ppf(np.clip(rate + arm.by_group.get(group, arm.effect) / 100, 0.01, 0.99)) * 1.5
        n = len(difficulty[task])
        for each in (metric, *others):
            noise = rng.normal(size=n)
            right = z + difficulty[task] + taste[task] + luck + noise > 0
            names = [f"{items}-{i:05d}" for i in range(n)]
            about = {"chance": chance, "primary": each == metric}
            scores.append(written(run.path, task, group, each, right, names, **about))
    groups = group_means(scores)
    scores_of(scores, groups, suite_fingerprint="", num_images=scores[0].n, num_texts=1).write(run.path)


def _write_cost(run: RunDir, arm_name: str, arm: Arm, rng: np.random.Generator) -> None:
    speed = 280 / (0.35 + 0.65 * (1 - arm.mask_ratio)) * rng.uniform(0.97, 1.03)
    share = {"pgs": 0.021, "oracle": 0.004}.get(arm_name, 0.0005 if arm.mask_ratio else 0.0)
    steps, batch = 384, 64
    for step in range(10, steps + 1, 10):
        loss = 4.2 * np.exp(-step / 150) + 1.4 - arm.effect / 40 + rng.normal(0, 0.03)
        run.append_metrics(
            {
                "step": step,
                "samples": step * batch,
                "seconds": step * batch / speed,
                "loss": loss,
                "lr": 1e-3,
                "mask_ratio_effective": arm.mask_ratio,
                "samples_per_second": speed,
                "mask_share": share,
                **(_objects(arm_name, arm, rng) if arm.mask_ratio and step < 0.85 * steps else {}),
            }
        )
    samples = steps * batch
    run.write_summary(
        Summary(
            steps=steps,
            samples=samples,
            train_seconds=samples / speed,
            train_cpu_seconds=2 * samples / speed,
            samples_per_second=speed,
            mask_share=share,
            mask_ratio_effective=arm.mask_ratio,
            mask_overlap=1.0 if arm_name == "oracle" or not arm.mask_ratio else 0.33,
            visual_tokens=int(samples * 64 * (1 - 0.85 * arm.mask_ratio)),
            num_parameters=2_100_000,
            final_loss=1.9 - arm.effect / 40,
            peak_memory_bytes=int(1.4e9 * (1.2 - arm.mask_ratio / 2)) if arm.is_on_gpu else None,
            eval_seconds=21.0,
            flops=arm.flops,
            mask_ratio_over_training=0.85 * arm.mask_ratio,
            tokens_kept_over_training=64 * (1 - 0.85 * arm.mask_ratio),
        )
    )
    run.write_environment(
        Environment(
            started="2026-01-05T10:00:00+00:00",
            device="NVIDIA H100" if arm.is_on_gpu else "cpu",
            threads=2,
            platform="Linux",
            versions={"pgsbench": "0.1.0", "python": "3.11.9", "torch": "2.13.0"},
        )
    )


def _objects(arm_name: str, arm: Arm, rng: np.random.Generator) -> dict[str, float]:
    kept = {"oracle": 1.0, "pgs": 0.7}.get(arm_name, 1 - arm.mask_ratio)
    return {
        "mask/objects_kept": kept,
        "mask/insides_kept": kept - 0.1,
        "mask/outlines_kept": min(1.0, kept + 0.1),
        "mask/objects_nearly_gone": 0.02 * rng.random(),
    }


def _write_gallery(run: RunDir, arm: Arm, rng: np.random.Generator) -> None:
    """Three pictures of a disc on a gradient, 8 x 8 patches, as the mask showed them."""
    y, x = np.mgrid[:64, :64]
    images = np.stack([np.stack([90 + x, 120 + y // 2, 160 - y], axis=-1)] * 3).astype(np.uint8)
    for number, image in enumerate(images):
        image[(y - 20 - 8 * number) ** 2 + (x - 36 + 6 * number) ** 2 < 150] = (200, 60, 40)
    order = np.argsort(rng.random((3, 64)), axis=1)
    shown = order < round(64 * (1 - arm.mask_ratio))
    np.savez_compressed(run.path / files.GALLERY, images=images, shown=shown, grid=np.array([8, 8]))
