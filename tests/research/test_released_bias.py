"""The published attention bias in a tower: it reaches the embedding and hides nothing."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from open_clip.model import CLIP
from torch import Tensor

from pgsbench.masking.base import PatchView, view_of
from pgsbench.models.clip import build
from research import released_bias as effect
from research.released_code import biased_masks


@pytest.fixture(scope="module")
def view() -> PatchView:
    random = torch.Generator().manual_seed(0)
    images = torch.randn(4, 3, 32, 32, generator=random)
    images[:, :, :24] *= 0.3
    images[:, :, :24] += torch.arange(32.0).mul(torch.pi / 4).sin()  # alike, so more are masked than left out
    return view_of(images, (8, 8))


def cosines(view: PatchView) -> list[float]:
    found = effect.bias_effect(build("tiny-vit", seed=0).model, view)
    assert {one.part for one in found} == {"attention bias"}
    return [float(one.value) for one in found]


def test_the_bias_changes_the_embedding_less_than_hiding_does(view: PatchView) -> None:
    masked, keep = biased_masks(view, 16, seed=0)
    assert masked.gather(1, keep).any()
    biased, hidden, _ = cosines(view)
    assert hidden < biased < 1


def test_a_bias_that_hides_gives_what_the_kept_patches_alone_give(
    view: PatchView, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = build("tiny-vit", seed=0).model
    masked, keep = biased_masks(view, 16, seed=0)
    images = view.images
    assert images is not None
    layout = effect.layout_of(model)
    expected = []
    with torch.no_grad():
        for row in range(len(keep)):
            parts = [keep[row], keep[row][~masked[row][keep[row]]]]
            all_kept, seen = (embed_only(model, images[row : row + 1], part) for part in parts)
            expected.append(float(F.cosine_similarity(all_kept, seen)))
    assert layout.owner.patch_dropout.__class__ is torch.nn.Identity  # put back
    assert cosines(view)[1] == pytest.approx(sum(expected) / len(expected), abs=6e-4)
    monkeypatch.setattr(
        effect, "attention_bias", lambda masked, keep, num_heads: hiding(masked, keep, num_heads)
    )
    assert cosines(view)[0] == cosines(view)[1]


def embed_only(model: torch.nn.Module, image: Tensor, patches: Tensor) -> Tensor:
    layout = effect.layout_of(model)
    layout.install(effect._Keep(patches[None]))
    try:
        return model.encode_image(image)  # type: ignore[operator]  # open_clip's
    finally:
        layout.restore()


def hiding(masked: Tensor, keep: Tensor, num_heads: int) -> Tensor:
    bias = torch.zeros(len(keep), num_heads, keep.shape[1] + 1, keep.shape[1] + 1)
    for row in range(len(keep)):
        bias[row, :, :, 1:][:, :, masked[row][keep[row]]] = float("-inf")
    return bias.flatten(0, 1)


def test_a_tower_without_class_token_is_passed_over(view: PatchView) -> None:
    vision = {
        "image_size": 32,
        "patch_size": 8,
        "width": 32,
        "layers": 1,
        "head_width": 16,
        "pool_type": "avg",
    }
    text = {"context_length": 8, "vocab_size": 40, "width": 32, "heads": 2, "layers": 1}
    assert effect.bias_effect(CLIP(16, vision, text), view) == []
