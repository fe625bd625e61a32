"""Which towers can be masked: open_clip's and timm's; the others are refused with the reason."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from open_clip.model import CLIP
from small_tower import HideLast, tiny
from torch import Tensor, nn

from pgsbench.errors import ModelError
from pgsbench.masking.fewer_tokens import Resize, Tome
from pgsbench.masking.guided import Attentive
from pgsbench.masking.pgs import Pgs
from pgsbench.masking.random import NoMask, Random
from pgsbench.models.masked_tower import attach


@pytest.mark.filterwarnings("ignore:The .grad attribute:UserWarning")  # torch.compile warns of itself
@pytest.mark.parametrize(
    "strategy", [Random(0.5), Pgs(0.3, max_ratio=0.5), HideLast()], ids=["random", "pgs", "hiding"]
)
def test_a_compiled_model_masks_alike(strategy: Any, images: Tensor) -> None:
    model = tiny()
    masking = attach(model, strategy)
    masking.begin_step(seed=0, step=0)
    expected = model.visual(images)
    model.visual.compile(backend="eager")
    for step in (0, 1, 0):
        masking.begin_step(seed=0, step=step, progress=0.0)
        out = model.visual(images)
    torch.testing.assert_close(out, expected)


def test_a_resnet_is_refused_with_what_works() -> None:
    vision = {"image_size": 32, "layers": (1, 1, 1, 1), "width": 8, "head_width": 16}
    text = {"context_length": 8, "vocab_size": 40, "width": 32, "heads": 2, "layers": 1}
    model = CLIP(16, vision, text)
    with pytest.raises(ModelError, match="cannot drop patches") as raised:
        attach(model, Random(0.5))
    assert "ViT-B-16" in str(raised.value)


@pytest.mark.parametrize(
    ("name", "options", "prefix"),
    [
        ("vit_tiny_patch16_224", {"depth": 1, "embed_dim": 24, "num_heads": 2, "reg_tokens": 2}, 3),
        (
            "vit_tiny_patch16_224",
            {"depth": 1, "embed_dim": 24, "num_heads": 2, "class_token": False, "global_pool": "avg"},
            0,
        ),
        ("eva02_tiny_patch14_224", {"depth": 1, "embed_dim": 24, "num_heads": 2}, 1),
    ],
)
def test_timm_towers_drop_patches(name: str, options: dict[str, Any], prefix: int) -> None:
    timm = pytest.importorskip("timm")
    model = nn.Module()
    model.visual = nn.Module()
    model.visual.trunk = trunk = timm.create_model(
        name, img_size=(56, 84) if "eva" in name else (64, 96), num_classes=0, **options
    )
    patch = 14 if "eva" in name else 16
    images = torch.randn(2, 3, 4 * patch, 6 * patch, generator=torch.Generator().manual_seed(0))
    plain = trunk(images)
    masking = attach(model, NoMask())
    masking.begin_step(seed=0, step=0)
    torch.testing.assert_close(trunk(images), plain)
    masking = attach(model, Pgs(0.5))
    lengths: list[int] = []
    trunk.blocks[0].register_forward_pre_hook(lambda _, args: lengths.append(args[0].shape[1]))
    masking.begin_step(seed=0, step=0)
    masked = trunk(images)
    assert lengths == [prefix + 12]
    assert not torch.equal(masked, plain)
    trunk.eval()
    torch.testing.assert_close(trunk(images), plain)
    for strategy in (Attentive(), Resize(0.5), Tome(0.5)):
        with pytest.raises(ModelError, match="image tower"):
            attach(model, strategy)
    trunk.train()
    attach(model, HideLast()).begin_step(seed=0, step=0)
    with pytest.raises(ModelError, match="image tower"):
        trunk(images)


@pytest.mark.parametrize(
    "vision",
    [
        {"attentional_pool": True, "attn_pooler_queries": 4, "attn_pooler_heads": 2},
        {"output_tokens": True, "pool_type": "avg"},
        {"pool_type": "none"},
    ],
    ids=str,
)
def test_where_tokens_leave_the_tower_none_can_be_hidden(vision: Any, images: Tensor) -> None:
    model = tiny(**vision)
    attach(model, Random(0.5)).begin_step(seed=0, step=0)
    model.visual(images)
    attach(model, HideLast()).begin_step(seed=0, step=0)
    with pytest.raises(ModelError, match="cannot be hidden") as raised:
        model.visual(images)
    assert "max_ratio: null" in raised.value.way_out


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("vit_base_mci_224", {"depth": 1}),  # MobileCLIP-B: its stem is a convolutional network
        ("vit_tiny_r_s16_p8_224", {"depth": 1}),  # its projection is a convolution all the same
        ("samvit_base_patch16_224", {"depth": 1, "embed_dim": 24, "num_heads": 2}),  # its tokens are a map
    ],
)
def test_a_timm_tower_without_a_row_of_patches_is_refused(name: str, options: Any) -> None:
    timm = pytest.importorskip("timm")
    model = nn.Module()
    model.visual = nn.Module()
    model.visual.trunk = timm.create_model(name, num_classes=0, **options)
    with pytest.raises(ModelError, match="row of patches"):
        attach(model, Random(0.5))
