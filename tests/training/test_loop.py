"""The training loop: learns, resumes exactly, gives every arm the same start and the same pairs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from tinyworld import TinyWorld

from pgsbench.config.data import DataConfig
from pgsbench.config.training import TrainingConfig, UnmaskedTuning
from pgsbench.data import shards
from pgsbench.errors import Interrupted, RunError, RunHeldError
from pgsbench.masking.base import Strategy
from pgsbench.masking.guided import Attentive, Cluster
from pgsbench.masking.noise import Draws
from pgsbench.masking.random import NoMask, Random
from pgsbench.masking.text.base import TextStrategy
from pgsbench.masking.text.strategies import Frequency, TokenBlock, WholeText
from pgsbench.masking.text.words import WordCounts
from pgsbench.models.clip import build
from pgsbench.models.masked_tower import attach
from pgsbench.models.text_masking import TextMasking, word_counts
from pgsbench.training.loop import train
from pgsbench.training.meter import Totals
from pgsbench.training.optim import adamw, first_unmasked_step, learning_rate, set_learning_rate

CONFIG = TrainingConfig(
    samples=96,
    batch_size=16,
    log_every_steps=1,
    checkpoint_every_steps=2,
    unmasked_tuning=UnmaskedTuning(share=0.34),
)


def run(
    tiny: TinyWorld,
    folder: Path,
    *,
    strategy: Strategy | None = None,
    text: TextStrategy | None = None,
    counts: WordCounts | None = None,
    config: TrainingConfig = CONFIG,
    stop_after: int | None = None,
    lost_after: int | None = None,
) -> tuple[list[dict], dict[str, torch.Tensor], Totals]:
    clip = build("tiny-vit", seed=3)
    masking = attach(clip.model, strategy or Random(mask_ratio=0.5))
    text_masking = TextMasking(clip, text or WholeText(), counts)
    data = DataConfig(train=str(tiny.shards), augment=None)
    reader = shards.open_reader(shards.open_pairs(data), data, image_size=(32, 32), tokenize=clip.tokenize)
    lines: list[dict] = []

    def should_stop() -> bool:
        if len(lines) == lost_after:
            raise RunHeldError("another process works on the run")
        return stop_after is not None and len(lines) >= stop_after

    totals = train(
        clip,
        masking,
        text_masking,
        reader,
        config,
        seed=3,
        device=torch.device("cpu"),
        state_folder=folder,
        emit=lambda line: lines.append(dict(line)),
        should_stop=should_stop,
    )
    masking.detach()
    return lines, clip.model.state_dict(), totals


def test_a_training_whose_run_was_taken_over_does_not_end_well_even_at_its_last_step(
    tiny: TinyWorld, tmp_path: Path
) -> None:
    with pytest.raises(RunHeldError):
        run(tiny, tmp_path, lost_after=6)


def test_a_stopped_training_resumes_exactly(tiny: TinyWorld, tmp_path: Path) -> None:
    lines, weights, totals = run(tiny, tmp_path / "whole")
    with pytest.raises(Interrupted):
        run(tiny, tmp_path / "cut", stop_after=3)
    rest, resumed, resumed_totals = run(tiny, tmp_path / "cut")
    assert [line["step"] for line in rest] == [4, 5, 6]
    assert [line["loss"] for line in rest] == [line["loss"] for line in lines[3:]]
    assert all(torch.equal(weights[name], resumed[name]) for name in weights)
    assert (totals.samples, totals.visual_tokens) == (resumed_totals.samples, resumed_totals.visual_tokens)


def test_a_training_with_a_moving_average_resumes_exactly(tiny: TinyWorld, tmp_path: Path) -> None:
    config = CONFIG.model_copy(update={"unmasked_tuning": UnmaskedTuning(share=0.0), "learning_rate": 1e-2})
    strategy = Attentive(0.5, ema_momentum=0.8)  # so low that the average moves, and the masks with it
    lines, weights, _ = run(tiny, tmp_path / "whole", strategy=strategy, config=config)
    for stop_after in (1, 3):
        cut = tmp_path / f"cut{stop_after}"
        with pytest.raises(Interrupted):
            run(tiny, cut, strategy=strategy, config=config, stop_after=stop_after)
        rest, resumed, _ = run(tiny, cut, strategy=strategy, config=config)
        assert [line["loss"] for line in rest] == [line["loss"] for line in lines[stop_after:]]
        assert all(torch.equal(weights[name], resumed[name]) for name in weights)
    # Without the saved average the run would go on with other masks: the test above can fail.
    with pytest.raises(Interrupted):
        run(tiny, tmp_path / "lost", strategy=strategy, config=config, stop_after=3)
    (file,) = (tmp_path / "lost").glob("*/tensors.safetensors")
    tensors = load_file(file)
    for name, value in list(tensors.items()):
        if name.startswith("model/visual."):
            tensors[name.replace("model/visual.", "ema/")] = value.clone()
    save_file(tensors, file)
    rest, other, _ = run(tiny, tmp_path / "lost", strategy=strategy, config=config)
    assert not all(torch.equal(weights[name], other[name]) for name in weights)


def test_arms_start_alike_and_see_the_same_pairs(tiny: TinyWorld, tmp_path: Path) -> None:
    keep_all, *_ = run(tiny, tmp_path / "a", strategy=Random(mask_ratio=0.0))
    plain, *_ = run(tiny, tmp_path / "b", strategy=NoMask())
    assert [line["loss"] for line in keep_all] == [line["loss"] for line in plain]


def test_the_loss_falls(tiny: TinyWorld, tmp_path: Path) -> None:
    lines, *_ = run(tiny, tmp_path, config=CONFIG.model_copy(update={"samples": 960, "learning_rate": 3e-3}))
    assert lines[-1]["loss"] < lines[0]["loss"] - 0.3


def test_tokens_and_ratios_are_counted_as_they_were(tiny: TinyWorld, tmp_path: Path) -> None:
    lines, _, totals = run(tiny, tmp_path, strategy=Random(mask_ratio=0.75))
    assert [line["tokens_kept"] for line in lines] == [4, 4, 4, 4, 16, 16]  # the last third sees all
    assert totals.visual_tokens == 16 * (4 * 4 + 2 * 16)
    assert totals.effective_mask_ratio == pytest.approx(0.75)
    assert totals.mask_ratio_over_training == pytest.approx(0.75 * 4 / 6)
    assert totals.tokens_kept_over_training == (4 * 4 + 2 * 16) / 6
    assert 0 < totals.mask_seconds < totals.train_seconds
    assert 0 < totals.wait_seconds < totals.train_seconds
    assert any(line["wait_share"] > 0 for line in lines)


def counted(tiny: TinyWorld) -> WordCounts:
    return word_counts(shards.open_pairs(str(tiny.shards)), build("tiny-vit", seed=0).tokenize)


def test_a_training_on_shortened_captions_resumes_exactly(tiny: TinyWorld, tmp_path: Path) -> None:
    text, counts = Frequency(keep=5, threshold=0.01), counted(tiny)
    lines, weights, totals = run(tiny, tmp_path / "whole", text=text, counts=counts)
    with pytest.raises(Interrupted):
        run(tiny, tmp_path / "cut", text=text, counts=counts, stop_after=3)
    rest, resumed, resumed_totals = run(tiny, tmp_path / "cut", text=text, counts=counts)
    assert [line["loss"] for line in rest] == [line["loss"] for line in lines[3:]]
    assert all(torch.equal(weights[name], resumed[name]) for name in weights)
    assert totals.text_tokens == resumed_totals.text_tokens == 16 * (4 * 5 + 2 * 24)
    plain, *_ = run(tiny, tmp_path / "plain")
    assert [line["loss"] for line in plain] != [line["loss"] for line in lines]


def test_the_mask_of_the_images_does_not_depend_on_the_text_strategy(tiny: TinyWorld, tmp_path: Path) -> None:
    seen: list[torch.Tensor] = []

    class Watched(Random):
        def select(self, view: Any, *, draws: Draws) -> Any:
            selection = super().select(view, draws=draws)
            seen.append(selection.keep)
            return selection

    run(tiny, tmp_path / "a", strategy=Watched(0.5))
    run(tiny, tmp_path / "b", strategy=Watched(0.5), text=TokenBlock(keep=4))
    whole, shortened = seen[: len(seen) // 2], seen[len(seen) // 2 :]
    assert len(whole) == len(shortened) == 4
    assert all(torch.equal(*pair) for pair in zip(whole, shortened, strict=True))
    assert not torch.equal(whole[0], whole[1])


def test_the_share_of_hidden_patches_does_not_depend_on_when_it_is_read(
    tiny: TinyWorld, tmp_path: Path
) -> None:
    strategy = Cluster(threshold=0.05)
    lines, _, totals = run(tiny, tmp_path / "each", strategy=strategy)
    masked = [line["mask_ratio_effective"] for line in lines[:4]]
    assert len({round(ratio, 6) for ratio in masked}) > 1
    assert totals.masked_samples == 64
    assert totals.effective_mask_ratio == pytest.approx(sum(masked) / 4, rel=1e-6)
    seldom = CONFIG.model_copy(update={"log_every_steps": 100, "checkpoint_every_steps": 100})
    _, _, again = run(tiny, tmp_path / "seldom", strategy=strategy, config=seldom)
    assert again.masked_share_sum == pytest.approx(totals.masked_share_sum, rel=1e-6)
    with pytest.raises(Interrupted):
        run(tiny, tmp_path / "cut", strategy=strategy, stop_after=3)
    _, _, resumed = run(tiny, tmp_path / "cut", strategy=strategy, config=seldom)
    assert resumed.masked_share_sum == pytest.approx(totals.masked_share_sum, rel=1e-6)


def test_a_diverged_training_saves_no_state_that_cannot_go_on(tiny: TinyWorld, tmp_path: Path) -> None:
    """The loss is looked at where it is logged, here at the end alone; states are saved before."""
    changes = {"learning_rate": 1e30, "grad_clip_norm": None, "log_every_steps": 6}
    with pytest.raises(RunError, match="step 2: the weights are no longer finite"):
        run(tiny, tmp_path, config=CONFIG.model_copy(update=changes))
    for file in tmp_path.glob("step-*/*.safetensors"):
        assert all(tensor.isfinite().all() for tensor in load_file(file).values())


def test_the_rate_warms_up_and_falls_to_zero() -> None:
    config = TrainingConfig(samples=1000, batch_size=10, warmup_share=0.1, learning_rate=1.0)
    rates = [learning_rate(step, config) for step in range(config.steps)]
    assert rates[:10] == pytest.approx([0.1 * (step + 1) for step in range(10)])
    assert rates[9:] == sorted(rates[9:], reverse=True)
    assert rates[-1] < 1e-3


def test_the_unmasked_phase_scales_the_rate_and_can_be_off() -> None:
    tuned = TrainingConfig(samples=1000, batch_size=10, unmasked_tuning={"share": 0.2, "lr_scale": 0.01})
    plain = tuned.model_copy(update={"unmasked_tuning": UnmaskedTuning(share=0.0)})
    assert (first_unmasked_step(tuned), first_unmasked_step(plain)) == (80, 100)
    assert learning_rate(79, tuned) == learning_rate(79, plain)
    assert learning_rate(80, tuned) == pytest.approx(0.01 * learning_rate(80, plain))


def test_only_matrices_are_decayed() -> None:
    clip = build("tiny-vit", seed=0)
    groups = adamw(clip.model, CONFIG).param_groups
    for group in groups:
        assert all((parameter.ndim >= 2) == (group["weight_decay"] > 0) for parameter in group["params"])
    assert sum(len(group["params"]) for group in groups) == len(list(clip.model.parameters()))


def test_the_text_tower_can_have_a_rate_of_its_own() -> None:
    clip = build("tiny-vit", seed=0)
    optimizer = adamw(clip.model, CONFIG.model_copy(update={"text_lr_scale": 0.2}))
    set_learning_rate(optimizer, 1e-2)
    rates = {id(parameter): group["lr"] for group in optimizer.param_groups for parameter in group["params"]}
    for name, parameter in clip.model.named_parameters():
        is_text = not name.startswith("visual.") and name != "logit_scale"
        assert rates[id(parameter)] == pytest.approx(2e-3 if is_text else 1e-2), name
