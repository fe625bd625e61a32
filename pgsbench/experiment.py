"""One run spec to one run directory: the one place that joins data, model, mask, training, evaluation.

A run that is complete is never trained twice, and one that was interrupted goes on where its last saved
state is.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pgsbench.data import shards
from pgsbench.data.damage import Damage
from pgsbench.data.samples import Reader
from pgsbench.data.transforms import normalise
from pgsbench.disk.whole_files import atomic
from pgsbench.errors import DataError, Interrupted, Pruned, RunError, RunHeldError
from pgsbench.evaluation.identity import current_fingerprint
from pgsbench.evaluation.suite import Suite, suite_of
from pgsbench.evaluation.task_results import is_measured
from pgsbench.masking.base import Strategy
from pgsbench.masking.configure import configure, configure_text
from pgsbench.masking.coverage import overlap
from pgsbench.meanwhile import Judge, Meanwhile, measure_together
from pgsbench.models import checkpoint
from pgsbench.models.checkpoint import load
from pgsbench.models.clip import Clip
from pgsbench.models.masked_tower import Masking, attach
from pgsbench.models.start import build_for
from pgsbench.models.text_masking import TextMasking, word_counts
from pgsbench.records import files
from pgsbench.records.run_records import Summary, environment_of
from pgsbench.records.run_spec import RunSpec
from pgsbench.study.plan import as_now
from pgsbench.tracking.rundir import RunDir, find_or_make
from pgsbench.tracking.states import saying_why
from pgsbench.training import state
from pgsbench.training.loop import train
from pgsbench.training.meter import Totals, peak_memory_bytes
from pgsbench.training.ranks import Ranks
from pgsbench.training.trunk import Trunk

#: Training pictures that are masked once more after training, and how many of them a figure may show.
OVERLAP_IMAGES, GALLERY_IMAGES = 64, 8


def run_once(
    spec: RunSpec,
    *,
    runs_root: Path,
    device: torch.device,
    should_stop: Callable[[], bool] = lambda: False,
    judge: Judge | None = None,
    ranks: Ranks = Ranks(),  # noqa: B008  # frozen: one process alone
) -> RunDir:
    """Train and evaluate one run, or return it where that was done before.

    Args:
        spec: The run.
        runs_root: The folder of all studies; a run of another study with the same id is reused.
        device: Where; of the type that the spec names.
        should_stop: Asked after every step, and while the model is evaluated.
        judge: Looks at its scores meanwhile.
        ranks: This process among those that train the run; rank 0 alone writes, and evaluations are shared.

    Raises:
        Interrupted: `should_stop` said so; the state is saved.
        Pruned: `judge` said so; likewise.
        RunHeldError: Another process works on it.
        UserError: Data, model, mask or run directory cannot be used, or are no longer those of the spec.
    """
    if not ranks.is_first:
        run = RunDir(Path(ranks.told(None)))
        if run.exists:
            with saying_why(run):
                _work(run, spec, device=device, should_stop=should_stop, ranks=ranks)
        return run
    with ranks.telling() as tell:
        return _run_first(spec, runs_root, device, should_stop, judge, ranks, tell)


def _run_first(
    spec: RunSpec,
    runs_root: Path,
    device: torch.device,
    should_stop: Callable[[], bool],
    judge: Judge | None,
    ranks: Ranks,
    tell: Callable[[str], None],
) -> RunDir:
    # `tell` starts the other ranks, on the run directory.
    _check_identity(spec)
    run = find_or_make(runs_root, spec)
    suite = suite_of(spec)
    if is_complete(run, current_fingerprint(suite)):
        return run
    with run.claim() as held:

        def asked_to_stop() -> bool:
            run.existing_path()  # else what is written next would make a deleted directory anew
            if not held.is_ours:
                raise RunHeldError(
                    "this process was not seen for long, and another one works on the run",
                    where=str(run.path),
                )
            return should_stop()

        if is_complete(run, current_fingerprint(suite)):  # by the process that this one has waited for
            return run
        run.try_again()
        if judge is not None and judge.is_over():
            raise Pruned
        began, was_trained = time.perf_counter(), is_trained(run)
        is_whole = not was_trained and not any(run.state.glob("*"))
        trunk = Trunk.of(spec, run.path, runs_root, world_size=ranks.world_size)
        try:
            with saying_why(run):
                if not was_trained:
                    trunk.begin()
                tell(str(run.path))
                eval_seconds = _work(
                    run, spec, device=device, should_stop=asked_to_stop, judge=judge, trunk=trunk, ranks=ranks
                )
                if summary := run.summary:
                    seconds = time.perf_counter() - began if is_whole else None
                    run.write_summary(_with_times(summary, eval_seconds, seconds))
        except (Interrupted, RunHeldError):
            if judge is not None and judge.is_pruned:
                raise Pruned from None
            raise
        state.discard(run.state)
        run.mark_done()
    return run


def _work(
    run: RunDir,
    spec: RunSpec,
    *,
    device: torch.device,
    should_stop: Callable[[], bool],
    judge: Judge | None = None,
    trunk: Trunk | None = None,
    ranks: Ranks,
) -> float:
    """Train a run unless it is trained, evaluate it, and return how many seconds that took."""
    suite = suite_of(spec)
    if not is_trained(run):
        _train(
            run,
            spec,
            suite,
            device=device,
            should_stop=should_stop,
            judge=judge,
            trunk=trunk,
            ranks=ranks,
        )
    started, steps = time.perf_counter(), spec.config.training.steps
    with ranks.together(steps):
        clip = load(run.checkpoint, device=device)
    measure_together(
        clip,
        suite,
        whole=suite,
        out=run.path,
        device=device,
        batch_size=spec.evaluation.batch_size,
        sha256=checkpoint.weights_hash(run.checkpoint),
        should_stop=should_stop,
        ranks=ranks,
        step=steps,
    )
    return time.perf_counter() - started


def is_complete(run: RunDir | None, suite_fingerprint: str) -> bool:
    """Tell whether a run needs no work at all: it is trained, and tested on this very suite, item by item.

    Args:
        run: The run; None: there is none.
        suite_fingerprint: Of the suite and its data as they are now (`current_fingerprint`).
    """
    if run is None or not run.is_done or not suite_fingerprint:
        return False
    return is_measured(run.path, suite_fingerprint)


def is_trained(run: RunDir) -> bool:
    """Tell whether a run has its model, so that what it may lack is its evaluation."""
    return (run.checkpoint / checkpoint.WEIGHTS_FILE).is_file()


def _check_identity(spec: RunSpec) -> None:
    # A study is planned once and may train for days; a file edited meanwhile is read as it is now.
    if as_now(spec).training != spec.training:
        config = spec.config
        raise RunError(
            "one of these is no longer what it was when this run was planned",
            where=", ".join(
                (config.strategy.name, config.text.strategy, config.model.name, config.data.source)
            ),
            way_out="run the command again: it plans with them as they are now",
        )


def _train(
    run: RunDir,
    spec: RunSpec,
    suite: Suite,
    *,
    device: torch.device,
    should_stop: Callable[[], bool],
    judge: Judge | None,
    trunk: Trunk | None,
    ranks: Ranks,
) -> None:
    config = spec.config
    if ranks.is_first:
        run.write_environment(environment_of(device))
    with ranks.together():
        clip = build_for(config, seed=config.seed, device=device)
        strategy = configure(config.strategy.name, config.strategy.fields)  # at once: its file may be edited
        text_strategy = configure_text(config.text.strategy, config.text.fields)
        pairs = shards.open_pairs(config.data, run_pins=run.path / files.PINS)
        damage = pairs.damage(config.data.max_bad_share)
        damage.keep_in(run.path / files.DAMAGE, writes=ranks.is_first)
        reader = shards.open_reader(pairs, config.data, image_size=clip.image_size, tokenize=clip.tokenize)
        _check_objects(strategy, reader)
        masking = attach(clip.model, strategy)
        counts = word_counts(pairs, clip.tokenize) if "counts" in text_strategy.needs else None

    is_first = True

    def emit(line: Mapping[str, float]) -> None:
        nonlocal is_first
        if is_first:  # what an interrupted run logged after its last saved state happens again
            run.truncate_after(int(line["step"]) - 1)
            is_first = False
        run.append_metrics(line)

    meanwhile = Meanwhile(run, spec, suite, clip, device, pairs.order.num_samples, ranks, should_stop, judge)
    totals = train(
        clip,
        masking,
        TextMasking(clip, text_strategy, counts),
        reader,
        config.training,
        seed=config.seed,
        device=device,
        state_folder=run.state,
        emit=emit,
        should_stop=should_stop,
        damage=damage,
        meanwhile=meanwhile,
        on_saved=trunk.keep if trunk is not None else lambda _: None,
        ranks=ranks,
    )
    with ranks.together(config.training.steps):
        if ranks.is_first:
            mask_overlap = _look_at_mask(run, clip, masking, shards.in_process(reader), spec)
            masking.detach()
            summary = _summary(run, clip, totals, device, mask_overlap, damage)
            run.write_summary(
                dataclasses.replace(summary, branch=trunk.branch if trunk is not None else None)
            )
            checkpoint.save(clip, run.checkpoint)  # last: from here on the run counts as trained


def _check_objects(strategy: Strategy, reader: Reader) -> None:
    if "objects" in strategy.needs and not reader.has_objects:
        raise DataError(
            "this strategy needs to know the objects, and the training data does not",
            where="strategy.name",
            value=type(strategy).__name__,
            way_out="use it on data with KEY.objects.png (scenes, for example), or leave its arm out",
        )


def _look_at_mask(run: RunDir, clip: Clip, masking: Masking, reader: Reader, spec: RunSpec) -> float:
    """Keep a few training pictures with what the mask shows of them, for figures.

    Returns:
        How much two seeds of the mask agree on the same pictures: `pgsbench.masking.coverage.overlap`.
    """
    training = spec.config.training
    batch = next(reader.batches(seed=0, batch_size=min(training.batch_size, OVERLAP_IMAGES)))
    device = next(clip.model.parameters()).device
    pictures = normalise(batch.images.to(device), clip.mean, clip.std)
    model: Any = clip.model.train()
    masking.active = True
    shown, seen = [], None
    for seed in (spec.seed, spec.seed + 1):
        masking.begin_step(seed=seed, step=training.steps, progress=1.0, objects=batch.objects)
        with torch.no_grad():
            model.encode_image(pictures)
        shown.append(masking.shown(len(pictures)))
        if seed == spec.seed:
            seen = masking.appearance(batch.images.to(device).float())
    arrays: dict[str, Any] = {
        "images": _as_pictures(batch.images),
        "shown": shown[0][:GALLERY_IMAGES].cpu().numpy(),
        "grid": np.array(masking.grid),
        "tokens": masking.token_count.mean,
    }
    if seen is not None:
        arrays["seen"] = _as_pictures(seen.round().clamp(0, 255).byte())
    with atomic(run.existing_path() / files.GALLERY) as scratch, scratch.open("wb") as file:
        np.savez_compressed(file, **arrays)
    return float(overlap(*shown).mean())


def _as_pictures(images: Tensor) -> NDArray[np.uint8]:
    pictures: NDArray[np.uint8] = images[:GALLERY_IMAGES].permute(0, 2, 3, 1).cpu().numpy()
    return pictures


def _summary(
    run: RunDir, clip: Clip, totals: Totals, device: torch.device, mask_overlap: float, damage: Damage
) -> Summary:
    lines = run.metrics()
    return Summary(
        steps=lines[-1]["step"],
        samples=totals.samples,
        train_seconds=totals.train_seconds,
        train_cpu_seconds=totals.cpu_seconds,
        samples_per_second=totals.samples / totals.train_seconds,
        mask_share=totals.mask_seconds / totals.train_seconds,
        mask_ratio_effective=totals.effective_mask_ratio,
        mask_overlap=mask_overlap,
        visual_tokens=totals.visual_tokens,
        num_parameters=sum(parameter.numel() for parameter in clip.model.parameters()),
        final_loss=lines[-1]["loss"],
        peak_memory_bytes=peak_memory_bytes(device),
        text_tokens=totals.text_tokens,
        flops=totals.flops or None,
        bad_samples=damage.counts,
        mask_ratio_over_training=totals.mask_ratio_over_training,
        tokens_kept_over_training=totals.tokens_kept_over_training,
        wait_share=totals.wait_seconds / totals.train_seconds,
    )


def _with_times(summary: Summary, eval_seconds: float, seconds: float | None) -> Summary:
    """Return a summary with what came after the training, and the seconds of the run where they are known."""
    overhead = summary.overhead_seconds
    if seconds is not None:
        overhead = seconds - summary.own_seconds - eval_seconds
    return dataclasses.replace(summary, eval_seconds=eval_seconds, overhead_seconds=overhead)
