"""Operations by plan are those that a forward pass does."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import open_clip
import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from pgsbench.masking.guided import Attentive
from pgsbench.masking.random import Random
from pgsbench.masking.text.strategies import RandomTokens, WholeText
from pgsbench.masking.token_counts import token_count
from pgsbench.models.clip import build
from pgsbench.models.masked_tower import attach
from pgsbench.models.pair_cost import model_cost, sizes_of
from pgsbench.models.start import lock
from pgsbench.models.text_masking import TextMasking
from pgsbench.models.tower_layout import layout_of
from pgsbench.models.tower_parts import EmaTower


@pytest.mark.parametrize(
    ("name", "ratio", "keep", "locked"),
    [
        ("tiny-vit", 0.0, None, None),
        ("scenes-vit", 0.5, 6, None),
        ("tiny-vit", 0.5, 6, "image"),
        ("tiny-vit", 0.5, None, "text"),
    ],
)
def test_the_plan_is_what_a_step_does(name: str, ratio: float, keep: int | None, locked: str | None) -> None:
    clip = build(name, seed=0)
    if locked:
        lock(clip, locked)
    model: Any = clip.model.train()
    masking = attach(model, Random(ratio))
    texts = TextMasking(clip, WholeText() if keep is None else RandomTokens(keep))
    for each in (masking, texts):
        each.begin_step(seed=0, step=0)
    ids = texts.shorten(clip.tokenize(["one two three four five six seven", "eight"]))
    with FlopCounterMode(display=False) as counter, sdpa_kernel(SDPBackend.MATH):  # the only one it counts
        out = texts.forward(torch.randn(2, 3, *clip.image_size), ids)
        by_module, forward = counter.get_flop_counts(), counter.get_total_flops()
        (image,) = (sum(found.values()) for module, found in by_module.items() if module.endswith(".visual"))
        sum(out[tower].sum() for tower in ("image_features", "text_features")).backward()
    cost = model_cost(model)
    assert cost is not None
    assert cost == sizes_of(name, locked=locked).cost, "without weights, too"
    count = token_count(Random(ratio), masking.grid, cost.num_visual_blocks)
    assert image == 2 * cost.visual_flops(count)
    assert forward == image + 2 * cost.text_flops(texts.num_kept)
    planned = cost.training_flops(count, texts.num_kept)
    # Pixels need no gradient: the plan counts one product of the patch embedding that is not done.
    embedding = 0 if locked == "image" else 2 * count.embedded * cost.patch_dim * cost.visual.width
    assert counter.get_total_flops() == 2 * (planned - embedding)


@contextmanager
def no_fast_path() -> Iterator[None]:
    """Let attention without gradient compute step by step: the counter does not look into its fast path."""
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        yield
    finally:
        torch.backends.mha.set_fastpath_enabled(True)


def test_a_second_tower_that_watches_costs_what_it_computes() -> None:
    clip = build("tiny-vit", seed=0)
    cost, grid = model_cost(clip.model), layout_of(clip.model).grid
    assert cost is not None
    tower = EmaTower(clip.model.get_submodule("visual"), momentum=0.9)
    with FlopCounterMode(display=False) as counter, sdpa_kernel(SDPBackend.MATH), no_fast_path():
        tower.attention(torch.randn(2, 3, *clip.image_size))
    watched, plain = (token_count(mask, grid, cost.num_visual_blocks) for mask in (Attentive(), Random(0.5)))
    extra = cost.training_flops(watched, 16) - cost.training_flops(plain, 16)
    assert counter.get_total_flops() == 2 * extra


@pytest.mark.parametrize("name", ["vit_medium_patch16_gap_256", "coca_ViT-B-32"])
def test_towers_of_another_make_are_not_guessed(name: str) -> None:
    with torch.device("meta"):
        model = open_clip.create_model(name, device="meta")
    assert model_cost(model) is None
