"""One run from configuration to scores: the one place that joins data, model, mask, training, evaluation.

Everything a run leaves behind lies in its run directory; a run that is complete is never trained twice,
and one that was interrupted goes on where its last saved state is.
"""

from __future__ import annotations

import platform
import subprocess
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch

from pgsbench import __version__, hashing
from pgsbench.config.schema import EvaluationConfig, RunConfig
from pgsbench.data import shards, store
from pgsbench.data.samples import Reader
from pgsbench.data.transforms import normalise
from pgsbench.errors import DataError, RunError
from pgsbench.evaluation.evaluate import evaluate
from pgsbench.evaluation.identity import current_fingerprint
from pgsbench.evaluation.suite import Suite, load_suite, locate, make_builtin
from pgsbench.files import atomic
from pgsbench.masking import STRATEGIES
from pgsbench.masking.base import Strategy
from pgsbench.masking.configure import configure
from pgsbench.masking.measure import overlap
from pgsbench.models import checkpoint
from pgsbench.models.clip import Clip, build, load
from pgsbench.models.masked_tower import Masking, attach
from pgsbench.study.study import Study
from pgsbench.tracking.rundir import RunDir, find_runs
from pgsbench.training import state
from pgsbench.training.loop import train
from pgsbench.training.meter import Totals, peak_memory_bytes

#: Training pictures that are masked once more after training, and how many of them a figure may show.
OVERLAP_IMAGES, GALLERY_IMAGES = 64, 8

_VERSIONS = ("torch", "open_clip_torch", "clip_benchmark", "numpy", "pillow")


def prepare_data(study: Study, *, progress: store.Progress | None = None) -> None:
    """Make the built-in data sets that a study trains on and is tested on, and look into the first shard.

    Raises:
        DataError: Data is missing or unusable; before hours of training, not after.
    """
    first_shard = shards.resolve(study.config.data.train, progress=progress)[0]
    shards.preflight(first_shard)
    suite = load_suite(study.config.evaluation.suite)
    make_builtin(suite, progress=progress)
    locate(suite)


def run_once(
    config: RunConfig,
    run_id: str,
    *,
    arm: str,
    study: str,
    runs_root: Path,
    evaluation: EvaluationConfig,
    device: torch.device,
    should_stop: Callable[[], bool] = lambda: False,
) -> RunDir:
    """Train and evaluate one run, or return it where that was done before.

    Args:
        config: The resolved configuration.
        run_id: Its id (`pgsbench.hashing.run_id`).
        arm: Name of the arm, for the directory's name.
        study: The study that a new run directory belongs to.
        runs_root: The folder of all studies; a run of another study with the same id is reused.
        evaluation: What the model is tested on; other suites than last time are measured anew.
        device: Where.
        should_stop: Asked after every step.

    Raises:
        Interrupted: `should_stop` said so; the state is saved.
        UserError: Data, model, mask or run directory cannot be used, or are no longer those of the id.
    """
    _check_id(config, run_id)
    run = find_runs(runs_root, [run_id]).get(run_id)
    if run is None:
        identity = {"id": run_id, "study": study, "arm": arm, "seed": config.seed}
        data = {"config": config.model_dump(), "data_fingerprint": _data_fingerprint(config.data.train)}
        run = RunDir.create(runs_root, {**identity, **data})
    suite = load_suite(evaluation.suite)
    if is_complete(run, current_fingerprint(suite)):
        return run
    with run.claim():
        if not (run.checkpoint / checkpoint.WEIGHTS_FILE).is_file():
            _train(run, config, device=device, should_stop=should_stop)
        _evaluate(run, suite, batch_size=evaluation.batch_size, device=device)
        run.mark_done()
    return run


def current_id(config: RunConfig) -> str:
    """Return the id of a run with its data, the code of its strategy and its model's file as they are now.

    Raises:
        DataError: The training data is not there.
        PluginError: There is no such strategy any more.
    """
    data, strategy = config.data.train, config.strategy.name
    return hashing.run_id(config, shards.data_id(data), STRATEGIES.content_id(strategy))


def _check_id(config: RunConfig, run_id: str) -> None:
    # A study is planned once and may train for days; a file edited meanwhile is read as it is now.
    if current_id(config) != run_id:
        raise RunError(
            "one of these is no longer what it was when this run was planned",
            where=f"{config.strategy.name}, {config.model.name}, {config.data.train}",
            way_out="run the command again: it plans with them as they are now",
        )


def is_complete(run: RunDir | None, suite_fingerprint: str) -> bool:
    """Tell whether a run needs no work at all: it is trained, and tested on this very suite.

    Args:
        run: The run; None: there is none.
        suite_fingerprint: Of the suite and its data as they are now (`current_fingerprint`).
    """
    if run is None or not run.is_done or not suite_fingerprint:
        return False
    return bool(run.scores.get("suite_fingerprint") == suite_fingerprint)


def _train(run: RunDir, config: RunConfig, *, device: torch.device, should_stop: Callable[[], bool]) -> None:
    run.write("env.json", _environment(device))
    clip = build(
        config.model.name,
        seed=config.seed,
        device=device,
        grad_checkpointing=config.model.grad_checkpointing,
        token_std=config.model.token_std,
    )
    strategy = configure(config.strategy.name, config.strategy.fields)  # at once: its file may be edited
    reader = shards.open_reader(
        shards.resolve(config.data.train),
        image_size=clip.image_size,
        tokenize=clip.tokenize,
        memory_limit_gib=config.data.memory_limit_gib,
        workers=config.data.workers,
    )
    _check_objects(strategy, reader)
    masking = attach(clip.model, strategy)

    is_first = True

    def emit(line: Mapping[str, float]) -> None:
        nonlocal is_first
        if is_first:  # what an interrupted run logged after its last saved state happens again
            run.truncate_after(int(line["step"]) - 1)
            is_first = False
        run.append_metrics(line)

    totals = train(
        clip,
        masking,
        reader,
        config.training,
        seed=config.seed,
        device=device,
        state_folder=run.state,
        emit=emit,
        should_stop=should_stop,
    )
    overlap_of_seeds = _look_at_mask(run, clip, masking, reader, config)
    masking.detach()
    run.write("summary.json", {**_summary(run, clip, totals, device), "mask_overlap": overlap_of_seeds})
    checkpoint.save(clip, run.checkpoint)  # last: from here on the run counts as trained
    state.discard(run.state)


def _evaluate(run: RunDir, suite: Suite, *, batch_size: int, device: torch.device) -> None:
    clip = load(run.checkpoint, device=device)
    started = time.perf_counter()
    evaluate(
        clip,
        suite,
        out=run.path,
        device=device,
        batch_size=batch_size,
        checkpoint_sha256=checkpoint.weights_hash(run.checkpoint),
    )
    run.write("summary.json", {**run.summary, "eval_seconds": time.perf_counter() - started})


def _check_objects(strategy: Strategy, reader: Reader) -> None:
    if "objects" in strategy.needs and not reader.has_objects:
        raise DataError(
            "this strategy needs to know the objects, and the training data does not",
            where="strategy.name",
            value=type(strategy).__name__,
            way_out="use it on data with KEY.objects.png (scenes, emoji), or leave its arm out",
        )


def _look_at_mask(run: RunDir, clip: Clip, masking: Masking, reader: Reader, config: RunConfig) -> float:
    """Keep a few training pictures with what the mask shows of them, for figures.

    Returns:
        How much two seeds of the mask agree on the same pictures: `pgsbench.masking.measure.overlap`.
    """
    batch = next(reader.batches(seed=0, batch_size=min(config.training.batch_size, OVERLAP_IMAGES)))
    device = next(clip.model.parameters()).device
    pictures = normalise(batch.images.to(device), clip.mean, clip.std)
    model: Any = clip.model.train()
    masking.active = True
    shown = []
    for seed in (config.seed, config.seed + 1):
        masking.begin_step(seed=seed, step=config.training.steps, progress=1.0, objects=batch.objects)
        with torch.no_grad():
            model.encode_image(pictures)
        shown.append(masking.shown(len(pictures)))
    with atomic(run.path / "gallery.npz") as scratch, scratch.open("wb") as file:
        np.savez_compressed(
            file,
            images=batch.images[:GALLERY_IMAGES].permute(0, 2, 3, 1).numpy(),
            shown=shown[0][:GALLERY_IMAGES].cpu().numpy(),
            grid=np.array(masking.grid),
        )
    return float(overlap(*shown).mean())


def _summary(run: RunDir, clip: Clip, totals: Totals, device: torch.device) -> dict[str, Any]:
    lines = run.metrics()
    return {
        "steps": lines[-1]["step"],
        "samples": totals.samples,
        "train_seconds": totals.train_seconds,
        "train_cpu_seconds": totals.cpu_seconds,
        "samples_per_second": totals.samples / totals.train_seconds,
        "mask_share": totals.mask_seconds / totals.train_seconds,
        "mask_ratio_effective": totals.effective_mask_ratio,
        "tokens_kept": lines[0]["tokens_kept"],
        "visual_tokens": totals.visual_tokens,
        "peak_memory_bytes": peak_memory_bytes(device),
        "num_parameters": sum(parameter.numel() for parameter in clip.model.parameters()),
        "final_loss": lines[-1]["loss"],
    }


def _environment(device: torch.device) -> dict[str, Any]:
    return {
        "pgsbench": __version__,
        "python": platform.python_version(),
        "platform": platform.platform(),
        **{name: version(name) for name in _VERSIONS},
        "git": _git_commit(),
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu",
        "threads": torch.get_num_threads(),
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def _git_commit() -> str:
    """Return the commit of the source this runs from, with a plus where it was changed; empty outside git."""
    command = ("git", "-C", str(Path(__file__).parent), "describe", "--always", "--abbrev=12", "--dirty=+")
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=10, check=True)
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stdout.strip()


def _data_fingerprint(train: str) -> str:
    if train in store.BUILTIN:
        return store.read_manifest(store.ensure(train)).fingerprint
    return shards.data_id(train)
