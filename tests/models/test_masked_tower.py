"""The tower around a mask: equal to plain open_clip where nothing is masked, blind to what is hidden."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import pytest
import torch
from small_tower import HideLast, Recorder, tiny
from torch import Tensor, nn

from pgsbench.errors import PluginError
from pgsbench.masking import selection_check
from pgsbench.masking.base import PatchView
from pgsbench.masking.pgs import Pgs
from pgsbench.masking.random import NoMask, Random
from pgsbench.models.masked_tower import attach, masking_of

POOLS: list[dict[str, Any]] = [{}, {"pool_type": "avg"}, {"pool_type": "avg", "final_ln_after_pool": True}]


@pytest.mark.parametrize("vision", POOLS, ids=str)
@pytest.mark.parametrize("strategy", [NoMask(), Random(0.0), Pgs(0.0)], ids=["none", "random", "pgs"])
def test_keeping_all_is_the_plain_model_bit_for_bit(vision: Any, strategy: Any, images: Tensor) -> None:
    model = tiny(**vision)
    plain = model.encode_image(images)
    masking = attach(model, strategy)
    masking.begin_step(seed=0, step=0)
    assert torch.equal(model.encode_image(images), plain)
    assert (masking.token_count.mean, masking.effective_ratio()) == (24, 0.0)


@pytest.mark.parametrize("vision", POOLS, ids=str)
def test_dropping_is_what_a_loop_over_tokens_does(vision: Any, images: Tensor) -> None:
    model = tiny(**vision)
    masking = attach(model, Random(0.5))
    masking.begin_step(seed=0, step=0)
    masked = model.visual(images)
    assert masking.last is not None
    keep = masking.last.keep
    masking.detach()

    class Picked(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            rows = [torch.stack([x[i, 0], *(x[i, 1 + j] for j in keep[i].tolist())]) for i in range(len(x))]
            return torch.stack(rows)

    model.visual.patch_dropout = Picked()
    assert torch.equal(masked, model.visual(images))


@pytest.mark.parametrize("vision", POOLS, ids=str)
@pytest.mark.parametrize("checkpointing", [False, True])
def test_a_hidden_token_has_no_influence(vision: Any, checkpointing: bool, images: Tensor) -> None:
    model = tiny(**vision)
    model.visual.set_grad_checkpointing(checkpointing)
    masking = attach(model, HideLast(carried=10, hidden=4))

    def run(pictures: Tensor) -> tuple[Tensor, list[Tensor]]:
        model.zero_grad()
        masking.begin_step(seed=0, step=0)
        out = model.visual(pictures)
        out.square().sum().backward()
        return out.detach(), [p.grad.clone() for p in model.visual.parameters() if p.grad is not None]

    out, gradients = run(images)
    changed = images.clone()
    changed[:, :, 8:16, 0:32] += 3.0  # patches 6 to 9 of a grid with six columns
    changed_out, changed_gradients = run(changed)
    assert torch.equal(out, changed_out)
    assert len(gradients) > 10
    assert all(map(torch.equal, gradients, changed_gradients))

    changed[:, :, 0:8, 40:48] += 3.0  # patch 5 is visible
    assert not torch.equal(out, run(changed)[0])


@pytest.mark.parametrize("vision", POOLS, ids=str)
def test_hiding_equals_dropping(vision: Any, images: Tensor) -> None:
    model = tiny(**vision)
    hiding = attach(model, HideLast(carried=10, hidden=4))
    hiding.begin_step(seed=0, step=0)
    hidden = model.visual(images)
    assert float(hiding.effective_ratio()) == pytest.approx(1 - 6 / 24)
    dropping = attach(model, HideLast(carried=6, hidden=0))
    dropping.begin_step(seed=0, step=0)
    torch.testing.assert_close(hidden, model.visual(images), atol=5e-6, rtol=1e-5)


def test_masks_depend_on_seed_step_and_samples_alone(images: Tensor) -> None:
    model = tiny()
    masking = attach(model, Random(0.5))

    def keep(**numbers: Any) -> Tensor:
        masking.begin_step(**({"seed": 0, "step": 0} | numbers))
        model.visual(images)
        assert masking.last is not None
        return masking.last.keep

    first = keep()
    for other in ({"seed": 1}, {"step": 1}, {"samples": torch.arange(3, 6)}):
        assert not torch.equal(keep(**other), first)
    state = torch.get_rng_state()
    assert torch.equal(keep(), first)
    assert torch.equal(torch.get_rng_state(), state)


def test_a_part_of_a_batch_has_the_masks_of_the_whole(images: Tensor) -> None:
    model = tiny()
    masking = attach(model, Random(0.5))

    def keep(rows: slice) -> Tensor:
        masking.begin_step(seed=0, step=5, samples=torch.arange(15, 18)[rows])
        model.visual(images[rows])
        assert masking.last is not None
        return masking.last.keep

    whole = keep(slice(0, 3))
    assert torch.equal(keep(slice(0, 1)), whole[:1])
    assert torch.equal(keep(slice(1, 3)), whole[1:])
    masking.begin_step(seed=0, step=5)  # samples are counted from the beginning of the training
    model.visual(images)
    assert masking.last is not None
    assert torch.equal(masking.last.keep, whole)
    masking.begin_step(seed=0, step=5, samples=torch.arange(2))
    with pytest.raises(RuntimeError, match="2 samples for 3 pictures"):
        model.visual(images)


def test_a_strategy_sees_what_it_needs_and_nothing_is_held(images: Tensor) -> None:
    model = tiny()
    views: list[PatchView] = []
    masking = attach(model, Recorder(views))
    objects = torch.zeros(3, 32, 48, dtype=torch.uint8)
    objects[0, :8, :8] = 1
    objects[1, :4, :8] = 2
    masking.begin_step(seed=0, step=0, progress=0.25, objects=objects)
    model.visual(images)
    assert masking._images is None
    masking.active = False
    (view,) = views
    assert (view.grid, view.patch_size, view.batch_size, view.progress) == ((4, 6), (8, 8), 3, 0.25)
    assert view.images is not None
    assert torch.equal(view.images, images)
    assert view.tokens is not None
    assert view.position is not None
    expected = model.visual.conv1(images).flatten(2).transpose(1, 2) + view.position
    torch.testing.assert_close(view.tokens, expected)
    assert not view.tokens.requires_grad
    assert view.objects is not None
    assert view.objects[:, 0].tolist() == [1.0, 0.5, 0.0]


def test_the_first_selection_is_checked_and_later_ones_cost_no_check(
    images: Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = tiny()
    attach(model, HideLast(carried=10, hidden=10)).begin_step(seed=0, step=0)
    with pytest.raises(PluginError, match="strategy HideLast: `visible` must be a bool tensor"):
        model.visual(images)
    checks = []
    monkeypatch.setattr(selection_check, "broken_rule", lambda *_: checks.append(1) or "")
    masking = attach(model, Random(0.5))
    for step in range(3):
        masking.begin_step(seed=0, step=step)
        model.visual(images)
    assert len(checks) == 1


def test_diagnostics_tell_what_is_left_of_the_objects(images: Tensor) -> None:
    model = tiny()
    masking = attach(model, HideLast(carried=10, hidden=4))
    objects = torch.zeros(3, 32, 48, dtype=torch.uint8)
    objects[:, :8, 24:48] = 1  # patches 3, 4, 5 are shown
    objects[:, 8:16, :4] = 1  # half of patch 6, which is hidden
    masking.begin_step(seed=0, step=0, objects=objects)
    model.visual(images)
    found = masking.diagnostics()
    assert found["mask/objects_kept"] == pytest.approx(3 / 3.5)
    assert (found["mask/insides_kept"], found["mask/outlines_kept"]) == (1.0, 0.0)
    assert found["mask/objects_nearly_gone"] == 0.0
    assert masking.shown(3).sum(dim=1).tolist() == [6, 6, 6]


def test_a_copy_has_a_mask_of_its_own(images: Tensor) -> None:
    model = tiny()
    masking = attach(model, Pgs(0.3, max_ratio=0.5))
    masking.begin_step(seed=0, step=0)
    out = model.visual(images)
    for twin in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        other = masking_of(twin)
        assert other is not None
        assert other is not masking
        other.begin_step(seed=0, step=0)
        masking.last = None  # a hook that still points to the original would now mask nothing
        assert torch.equal(twin.visual(images), out)
        other.detach()
        assert masking_of(twin) is None
    assert masking_of(model) is masking


def test_attaching_again_replaces_the_mask_and_detaching_restores_the_model(images: Tensor) -> None:
    model = tiny()
    plain = model.visual(images)
    old = attach(model, HideLast())
    masking = attach(model, Random(0.5))
    old.detach()
    assert [module for module in model.modules() if type(module) is type(masking)] == [masking]
    masking.detach()
    assert isinstance(model.visual.patch_dropout, nn.Identity)
    assert torch.equal(model.visual(images), plain)
