"""A pass that is run again sees the mask it had; a handle that was replaced no longer touches the tower."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from test_masked_tower import HideLast, tiny
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from pgsbench.masking.base import Strategy
from pgsbench.masking.guided import Attentive
from pgsbench.masking.pgs import Pgs
from pgsbench.masking.random import Random
from pgsbench.models.masked_tower import attach, masking_of


@pytest.mark.parametrize("reentrant", [False, True])
@pytest.mark.parametrize("strategy", [Random(0.5), Pgs(0.3, max_ratio=0.5), Attentive()], ids=str)
def test_checkpointing_the_whole_tower_gives_the_gradient_of_one_mask(
    strategy: Strategy, reentrant: bool
) -> None:
    random = torch.Generator().manual_seed(1)
    batches = [torch.randn(3, 3, 32, 48, generator=random) for _ in range(2)]

    def gradients(checkpointing: bool) -> list[Tensor]:
        model: Any = tiny().train()
        masking = attach(model, strategy)
        for micro_batch, images in enumerate(batches):  # accumulated
            images = images.clone().requires_grad_()
            masking.begin_step(seed=0, step=4, samples=torch.arange(3) + 3 * micro_batch, progress=0.5)
            if checkpointing:
                out = checkpoint(model.encode_image, images, use_reentrant=reentrant)
            else:
                out = model.encode_image(images)
            out.square().sum().backward()
        return [p.grad for p in model.parameters() if p.grad is not None]

    plain, again = gradients(False), gradients(True)
    assert len(plain) > 20
    assert all(map(torch.equal, plain, again))


@pytest.mark.parametrize("new", [Random(0.5), HideLast()], ids=["random", "hiding"])
def test_detaching_a_replaced_handle_leaves_the_new_mask_alone(new: Strategy) -> None:
    model: Any = tiny().train()
    images = torch.randn(3, 3, 32, 48, generator=torch.Generator().manual_seed(1))
    plain = model.encode_image(images)
    old = attach(model, Random(0.25))
    masking = attach(model, new)
    masking.begin_step(seed=0, step=0)
    masked = model.encode_image(images)
    old.detach()
    assert masking_of(model) is masking
    masking.begin_step(seed=0, step=0)
    assert torch.equal(model.encode_image(images), masked)
    masking.detach()
    masking.detach()
    assert masking_of(model) is None
    assert torch.equal(model.encode_image(images), plain)
