"""The moving average of the tower: what it looks at, how it follows, and that it is no part of the model."""

from __future__ import annotations

import copy
import math
from pathlib import Path
from typing import Any

import open_clip
import pytest
import small_tower
import torch
from open_clip.model import CLIP
from small_tower import Gaze
from torch import Tensor, nn

from pgsbench.errors import ModelError
from pgsbench.masking.guided import Attentive
from pgsbench.models.masked_tower import Masking, attach


def tiny(**vision: Any) -> CLIP:
    """A small tower whose attention has offsets: open_clip starts them at 0, where none is missed."""
    model = small_tower.tiny(layers=3, **vision)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        for block in model.visual.transformer.resblocks:
            nn.init.normal_(block.attn.in_proj_bias)
    return model


def attention_of(model: CLIP, images: Tensor) -> Tensor:
    """What a model's class token attends to, from the weights that `nn.MultiheadAttention` gives out."""
    rows: list[Tensor] = []

    def listen(attn: nn.Module, args: tuple[Tensor, ...], kwargs: dict[str, Any]) -> None:
        if not kwargs["need_weights"]:
            asked = kwargs | {"need_weights": True, "average_attn_weights": False}
            rows.append(attn(*args, **asked)[1][:, :, 0, 1:].mean(dim=1))  # (b, heads, l, l)

    hooks = [
        block.attn.register_forward_pre_hook(listen, with_kwargs=True)
        for block in model.visual.transformer.resblocks
    ]
    with torch.no_grad():
        model.visual(images)
    for hook in hooks:
        hook.remove()
    return torch.stack(rows).mean(dim=0)


def train_step(model: CLIP, masking: Masking, images: Tensor, step: int, progress: float = 0.0) -> Tensor:
    """Take one step of gradient descent and return the patches that were kept."""
    masking.begin_step(seed=0, step=step, progress=progress)
    model.zero_grad()
    model.visual(images).square().sum().backward()
    with torch.no_grad():
        for parameter in model.visual.parameters():
            parameter -= 0.05 * parameter.grad
    assert masking.last is not None
    return masking.last.keep


def test_the_attention_is_that_of_the_class_token_over_layers_and_heads(images: Tensor) -> None:
    model, views = tiny(), []
    expected = attention_of(model, images)
    attach(model, Gaze(views)).begin_step(seed=0, step=0)
    model.visual(images)
    (view,) = views
    assert view.attention.shape == (3, 24)
    torch.testing.assert_close(view.attention, expected)
    assert (view.attention.sum(dim=1) < 1).all()
    assert (view.attention > 0).all()
    assert not view.attention.requires_grad
    assert view.images is None  # it did not ask for them
    assert float(expected.max() / expected.min()) > 1.2  # else this test could not fail


def test_the_copy_follows_by_the_formula(images: Tensor) -> None:
    model = tiny()
    masking = attach(model, Gaze([], ema_momentum=0.9))
    expected = {name: p.detach().clone() for name, p in model.visual.named_parameters()}
    for step, progress in enumerate((0.0, 0.25, 0.5, 1.0)):
        m = 1 - (1 - 0.9) * (math.cos(math.pi * progress) + 1) / 2
        for name, parameter in model.visual.named_parameters():
            expected[name] = m * expected[name] + (1 - m) * parameter.detach()
        train_step(model, masking, images, step, progress)
        for name, value in masking.ema_state().items():
            torch.testing.assert_close(value, expected[name], msg=lambda text, name=name: f"{name}: {text}")
    fast = model.visual.state_dict()
    assert max(float((value - fast[name]).abs().max()) for name, value in masking.ema_state().items()) > 0.01


def test_it_starts_as_the_towers_equal_and_follows_once_for_each_step(images: Tensor) -> None:
    model = tiny()
    masking = attach(model, Gaze([]))

    def state() -> list[Tensor]:
        return [value.clone() for value in masking.ema_state().values()]

    first = state()
    assert all(map(torch.equal, first, model.visual.state_dict().values()))
    masking.begin_step(seed=0, step=0)
    assert all(map(torch.equal, first, state()))  # equal weights stay equal to the bit
    train_step(model, masking, images, step=0)
    masking.begin_step(seed=0, step=1)
    second = state()
    assert not all(map(torch.equal, first, second))
    masking.begin_step(seed=0, step=1, samples=torch.arange(3))
    assert all(map(torch.equal, second, state()))


def test_it_is_no_part_of_the_model(images: Tensor, tmp_path: Path) -> None:
    model, plain = tiny(), tiny()
    masking = attach(model, Attentive())
    train_step(model, masking, images, step=0)
    assert model.state_dict().keys() == plain.state_dict().keys()
    assert len(list(model.parameters())) == len(list(plain.parameters()))
    assert len(list(model.modules())) == len(list(plain.modules()))  # the mask stands for the dropout
    torch.save(model.state_dict(), tmp_path / "weights.pt")
    open_clip.load_checkpoint(plain, str(tmp_path / "weights.pt"))
    assert torch.equal(plain.eval().encode_image(images), model.eval().encode_image(images))


def test_the_state_goes_into_another_mask_and_must_fit(images: Tensor) -> None:
    model = tiny()
    masking = attach(model, Attentive(ema_momentum=0.5))
    for step in range(2):
        train_step(model, masking, images, step)
    state = copy.deepcopy(masking.ema_state())
    other = attach(tiny(), Attentive())
    other.load_ema_state(state)
    assert all(map(torch.equal, state.values(), other.ema_state().values()))
    with pytest.raises(RuntimeError, match="Missing key"):
        other.load_ema_state({})


def test_it_goes_where_the_model_goes(images: Tensor) -> None:
    model = tiny()
    masking = attach(model, Attentive())
    model.double()
    masking.begin_step(seed=0, step=0)
    assert model.visual(images.double()).dtype == torch.float64
    assert {value.dtype for value in masking.ema_state().values()} == {torch.float64}


@pytest.mark.parametrize(
    "vision",
    [
        {"pool_type": "avg"},
        {"attentional_pool": True, "attn_pooler_queries": 4, "attn_pooler_heads": 2},
        {"block_type": "custom"},
    ],
    ids=str,
)
def test_a_tower_without_such_attention_is_refused_with_what_works(vision: Any) -> None:
    with pytest.raises(ModelError, match="no class token's attention") as raised:
        attach(tiny(**vision), Attentive())
    assert "ViT-B-16" in str(raised.value)
