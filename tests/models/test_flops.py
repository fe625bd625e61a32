"""Operations by plan are those that a forward pass does."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from pgsbench.masking.random import Random
from pgsbench.masking.text.none import WholeText
from pgsbench.masking.text.random import RandomTokens
from pgsbench.models.clip import build
from pgsbench.models.flops import context_length_of, pair_flops
from pgsbench.models.masked_tower import attach
from pgsbench.models.text_masking import TextMasking


@pytest.mark.parametrize("keep", [None, 6])
@pytest.mark.parametrize("ratio", [0.0, 0.5])
@pytest.mark.parametrize("name", ["tiny-vit", "scenes-vit"])
def test_the_plan_is_what_a_forward_pass_does(name: str, ratio: float, keep: int | None) -> None:
    clip = build(name, seed=0)
    model: Any = clip.model.train()
    masking = attach(model, Random(ratio))
    texts = TextMasking(clip, WholeText() if keep is None else RandomTokens(keep))
    for each in (masking, texts):
        each.begin_step(seed=0, step=0)
    ids = texts.shorten(clip.tokenize(["one two three four five six seven", "eight"]))
    with FlopCounterMode(display=False) as counter, sdpa_kernel(SDPBackend.MATH):  # the only one it counts
        texts.forward(torch.randn(2, 3, *clip.image_size), ids)
    planned = pair_flops(name, patches=masking.num_kept, text_tokens=texts.num_kept)
    assert planned is not None
    by_module = counter.get_flop_counts()
    (image,) = (sum(found.values()) for module, found in by_module.items() if module.endswith(".visual"))
    assert image == 2 * planned.image
    assert counter.get_total_flops() == 2 * (planned.image + planned.text)
    assert texts.num_kept == (context_length_of(name) if keep is None else keep)


def test_blocks_may_have_their_own_numbers_of_tokens() -> None:
    same = pair_flops("ViT-B-16", patches=98, text_tokens=77)
    assert same == pair_flops("ViT-B-16", patches=[98] * 12, text_tokens=77)
    fewer = pair_flops("ViT-B-16", patches=[98] * 6 + [49] * 6, text_tokens=77)
    assert same is not None
    assert fewer is not None
    assert pair_flops("ViT-B-16", patches=49, text_tokens=77).image < fewer.image < same.image  # type: ignore[union-attr]
    small = pair_flops("ViT-B-16", patches=98, text_tokens=77, embedded=98)
    assert small is not None
    assert same.image - small.image == 2 * 98 * 768 * 768


@pytest.mark.parametrize(
    "name", ["RN50", "xlm-roberta-base-ViT-B-32", "vit_medium_patch16_gap_256", "coca_ViT-B-32"]
)
def test_towers_of_another_make_are_not_guessed(name: str) -> None:
    assert pair_flops(name, patches=49, text_tokens=77) is None
