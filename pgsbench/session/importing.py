"""Trainings that open_clip_train did, as arms of a study: its report compares them as any others.

A run directory gets the model, a spec of what the parameters say, and scores; there are no records of the
training. What nobody can know of it stays unknown: which pairs it saw in which order, and what it cost.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from pgsbench.checkpoints import evaluate_checkpoint
from pgsbench.config.schema import NAME, EvaluationConfig, RunConfig, StudyConfig, arm_name
from pgsbench.data.store import Progress
from pgsbench.errors import ConfigError, ModelError
from pgsbench.evaluation.identity import current_fingerprint
from pgsbench.evaluation.suite import load_suite
from pgsbench.hashing import file_hash
from pgsbench.models import checkpoint
from pgsbench.models.foreign import Foreign
from pgsbench.records.run_spec import Numerics, RunSpec
from pgsbench.records.study_record import Entry, StudyRecord
from pgsbench.tracking.rundir import RunDir

_PRECISIONS = {"amp": "fp16", "fp16": "fp16", "pure_fp16": "fp16", "fp32": "fp32"}
_UNKNOWN = "not known"


def import_runs(
    folders: Sequence[str],
    *,
    study: str,
    suite: str = "scenes",
    device: str = "auto",
    output: str | Path = ".",
    progress: Progress | None = None,
) -> Iterator[RunDir]:
    """Make run directories of trainings that open_clip_train did, evaluate them, and yield each.

    Args:
        folders: Its folders ``LOGS/NAME``, or ``ARM=LOGS/NAME``; an arm is else called after its mask.
        study: What the study is called that they are arms of; one of this name is replaced.
        suite: What they are tested on.
        device: Where.
        output: The folder of ``runs/``.
        progress: Told what is done.

    Raises:
        ConfigError: Two are the same seed of one arm, or what they say of themselves cannot be.
        ModelError: A folder is none of open_clip_train's, or its model cannot be opened.
        UserError: They cannot be evaluated.
    """
    if not re.fullmatch(NAME, study):
        raise ConfigError("not a name for a folder", where="--study", value=study)
    runs_root, fingerprint = Path(output) / "runs", current_fingerprint(load_suite(suite))
    named = [folder.rpartition("=") for folder in folders]
    found = [(_spec(arm, run := Foreign.read(Path(folder)), study, suite), run) for arm, _, folder in named]
    taken: dict[str, Path] = {}
    for spec, run in found:
        if spec.name in taken:
            raise ConfigError(
                "two trainings are the same seed of one arm",
                where=f"{taken[spec.name]} and {run.folder}",
                value=spec.name,
                way_out="name their arms: ARM=FOLDER, or leave one out",
            )
        taken[spec.name] = run.folder
    specs = [spec for spec, _ in found]
    for spec, run in found:
        directory = RunDir.create(runs_root, spec)
        checkpoint.save(run.open(), directory.checkpoint)
        evaluate_checkpoint(directory.path, suite, to=directory.path, device=device, progress=progress)
        directory.mark_done()
        yield directory
    planned = tuple(Entry(spec, spec.folder, fingerprint) for spec in specs)
    StudyRecord(_study(study, suite, specs), planned).write(runs_root / study)


def _spec(arm: str, run: Foreign, study: str, suite: str) -> RunSpec:
    config = _config(run)
    precision = config.training.precision_on("cpu")
    device = str(run.params.get("device", _UNKNOWN)).partition(":")[0]
    return RunSpec.of(
        study=study,
        arm=arm_name(arm or config.strategy.name),
        config=config,
        data=f"{_UNKNOWN}: {config.data.source}",
        strategy_code=config.strategy.name,
        model_file="",
        text_code=config.text.strategy,
        numerics=Numerics(device, precision, _UNKNOWN, 0),
        pretrained=config.model.pretrained or "",
        evaluation=EvaluationConfig(suite=suite),
        foreign=file_hash(run.weights),
    )


def _config(run: Foreign) -> RunConfig:
    """Return what the parameters say, as a run of ours would."""
    params, (mask, text) = run.params, _masks(run)
    batch = params["batch_size"] * params["world_size"] * params["accum_freq"]
    steps = run.steps
    samples = params["epochs"] * (params["train_num_samples"] or 0) if steps is None else steps * batch
    if samples < batch:
        raise ModelError(
            "neither the checkpoint nor the parameters say how long the training was",
            where=str(run.folder),
            way_out="write `train_num_samples: N` into its params.txt",
        )
    locked = [tower for tower in ("image", "text") if params.get(f"lock_{tower}")]
    size = params.get("force_image_size")
    return RunConfig.model_validate(
        {
            "seed": params["seed"],
            "data": {"train": params["train_data"] or params["dataset_type"]},
            "model": {
                "name": params["model"],
                "pretrained": params["pretrained"] or None,
                "image_size": size[0] if isinstance(size, list | tuple) else size,
                "locked": locked[0] if locked else None,
            },
            "strategy": mask,
            "text": text,
            "training": {
                "samples": samples,
                "batch_size": batch,
                "learning_rate": params["lr"],
                "weight_decay": params["wd"],
                **{key: params[key] for key in ("beta1", "beta2", "eps", "grad_clip_norm")},
                "warmup_steps": params["warmup"],
                "precision": _PRECISIONS.get(params["precision"], "bf16"),
                "loss": "sigmoid" if params["siglip"] else "softmax",
                "unmasked_tuning": {"share": 0.0},
            },
        }
    )


def _masks(run: Foreign) -> tuple[dict[str, Any], Mapping[str, Any]]:
    mask = dict(run.mask)
    text = mask.pop("text", {})
    return mask, {"strategy": text} if isinstance(text, str) else text


def _study(name: str, suite: str, specs: Sequence[RunSpec]) -> StudyConfig:
    """Return the study; the first arm is its base."""
    first = specs[0].config
    arms = {spec.arm: {"strategy": spec.config.strategy.model_dump()} for spec in specs}
    return StudyConfig.model_validate(
        {
            **first.model_dump(mode="json", exclude={"seed"}),
            "name": name,
            "question": "What do trainings by open_clip_train differ in?",
            "evaluation": {"suite": suite},
            "arms": {arm: what for arm, what in arms.items() if arm != arm_name(first.strategy.name)},
            "seeds": sorted({spec.seed for spec in specs}),
        }
    )
