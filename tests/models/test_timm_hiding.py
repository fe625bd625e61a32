"""Hidden tokens in timm's towers: without any influence, or refused with the reason."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from test_masked_tower import HideLast
from torch import Tensor, nn

from pgsbench.errors import ModelError
from pgsbench.masking.random import Random
from pgsbench.models.masked_tower import attach

timm = pytest.importorskip("timm")

SMALL = {"depth": 2, "embed_dim": 24, "num_heads": 2, "num_classes": 0}
VIT, EVA = "vit_tiny_patch16_224", "eva02_tiny_patch14_224"
TOWERS: list[tuple[str, dict[str, Any]]] = [
    (VIT, {"reg_tokens": 2}),
    (VIT, {"class_token": False, "global_pool": "avg"}),
    (VIT, {"global_pool": "avg", "fc_norm": False}),
    (EVA, {"global_pool": "token"}),
    (EVA, {"global_pool": "avg"}),
]


def tower(name: str, **options: Any) -> Any:
    """A model of 4 x 6 patches whose image tower is timm's, the same at every call."""
    patch = 14 if "eva" in name else 16
    model: Any = nn.Module()
    model.visual = nn.Module()
    with torch.random.fork_rng():
        torch.manual_seed(0)
        size = (4 * patch, 6 * patch)
        model.visual.trunk = timm.create_model(name, img_size=size, **{**SMALL, **options})
    return model


def pictures(model: Any) -> Tensor:
    patch = model.visual.trunk.patch_embed.patch_size[0]
    return torch.randn(2, 3, 4 * patch, 6 * patch, generator=torch.Generator().manual_seed(1))


def embed(model: Any, strategy: Any, images: Tensor) -> Tensor:
    masking = attach(model, strategy)
    masking.begin_step(seed=0, step=0)
    embedded: Tensor = model.visual.trunk(images)
    return embedded


@pytest.mark.parametrize(("name", "options"), TOWERS, ids=str)
@pytest.mark.parametrize("fused", [False, True])
def test_hiding_equals_dropping(name: str, options: dict[str, Any], fused: bool) -> None:
    model = tower(name, **options)
    for block in model.visual.trunk.blocks:
        block.attn.fused_attn = fused
    images = pictures(model)
    hidden = embed(model, HideLast(carried=10, hidden=4), images)
    dropped = embed(model, HideLast(carried=6, hidden=0), images)
    torch.testing.assert_close(hidden, dropped, atol=5e-6, rtol=1e-5)
    assert not torch.allclose(dropped, embed(model, HideLast(carried=10, hidden=0), images))


@pytest.mark.parametrize(("name", "options"), TOWERS, ids=str)
def test_a_hidden_token_has_no_influence(name: str, options: dict[str, Any]) -> None:
    model = tower(name, **options)
    images = pictures(model)
    patch = model.visual.trunk.patch_embed.patch_size[0]
    changed = images.clone()
    changed[:, :, patch : 2 * patch, : 4 * patch] += 3.0  # patches 6 to 9 of a grid with six columns
    assert torch.equal(embed(model, HideLast(), images), embed(model, HideLast(), changed))
    changed[:, :, :patch, 5 * patch :] += 3.0  # patch 5 is visible
    assert not torch.equal(embed(model, HideLast(), images), embed(model, HideLast(), changed))


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"global_pool": "map"}, "pools by attention"),
        ({"global_pool": "max"}, "pools by 'max'"),
        ({"global_pool": "avg", "pool_include_prefix": True}, "averages its patches together with other"),
    ],
)
def test_a_tower_that_would_show_hidden_tokens_is_refused(options: dict[str, Any], reason: str) -> None:
    model = tower(VIT, **options)
    assert embed(model, Random(0.5), pictures(model)).isfinite().all()
    with pytest.raises(ModelError, match=f"cannot be hidden.*{reason}"):
        embed(model, HideLast(), pictures(model))


def test_checkpointing_of_timms_own_is_refused_where_tokens_are_hidden() -> None:
    model = tower(VIT)
    model.visual.trunk.set_grad_checkpointing()
    embed(model, Random(0.5), pictures(model)).sum().backward()
    with pytest.raises(ModelError, match="gradient checkpointing is on"):
        embed(model, HideLast(), pictures(model))


def test_an_older_timm_is_told_the_version_that_can(monkeypatch: pytest.MonkeyPatch) -> None:
    model = tower(VIT)
    monkeypatch.setattr(type(model.visual.trunk.blocks[0]), "forward", lambda _, x: x)  # it takes no mask
    embed(model, Random(0.5), pictures(model))
    with pytest.raises(ModelError, match=r"from timm 1\.0\.31 on, here is \d") as raised:
        embed(model, HideLast(), pictures(model))
    assert "ViT-B-16" in raised.value.way_out
