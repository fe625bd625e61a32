"""All tensors of a step lie on one device: on GPUs that torch makes up, modules on `meta`.

Torch refuses to mix devices of made-up tensors as it does of real ones, on a machine without a GPU, too.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from contextlib import nullcontext
from typing import Any

import pytest
import torch
from torch import Tensor
from torch._subclasses import FakeTensorMode
from torch.overrides import TorchFunctionMode

from pgsbench.data import transforms
from pgsbench.data.samples import MadeUp
from pgsbench.data.transforms import normalise
from pgsbench.masking import STRATEGIES, noise, ops
from pgsbench.masking.base import BlockView, Fuser, Selection
from pgsbench.masking.configure import configure, configure_text
from pgsbench.masking.coverage import averaged, coarse, object_shares, objects_kept, overlap, top_edges_kept
from pgsbench.masking.noise import Draws
from pgsbench.masking.testing import make_view
from pgsbench.masking.text import TEXT_STRATEGIES
from pgsbench.masking.text.base import shorten
from pgsbench.masking.text.testing import make_text_view
from pgsbench.models import masked_tower
from pgsbench.models.clip import build, contrastive_loss
from pgsbench.models.masked_tower import attach
from pgsbench.models.token_rows import TokenRows, absorb

#: Every built-in but pgs-released, whose length the host has to know.
CASES: list[tuple[str, dict[str, Any]]] = [
    *((name, {}) for name in STRATEGIES.builtin if name != "pgs-released"),
    ("pgs", {"mask_ratio": 0.3, "max_ratio": 0.6}),
    ("pgs", {"merge": "nearest"}),
    ("pgs", {"neighbourhood": 2}),
    ("random", {"views": 2}),
    ("attentive", {"block_side": 2}),
]
#: Made before torch makes things up.
VIEW, TEXTS = make_view((4, 6), (8, 8), 3), make_text_view()


class Indexing(TorchFunctionMode):
    """Has ``x[...]`` and ``~x`` done by operations: Python's own way to them asks the driver of a GPU."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is Tensor.__setitem__:
            return torch.ops.aten.copy_(indexed(*args[:2]), args[2])
        special = {Tensor.__getitem__: indexed, Tensor.__invert__: torch.bitwise_not}
        return special.get(func, func)(*args, **(kwargs or {}))


def indexed(x: Tensor, key: Any) -> Tensor:
    keys = list(key) if isinstance(key, tuple) else [key]
    for place, one in enumerate(keys):
        if one is Ellipsis:
            used = sum(other is not None and other is not Ellipsis for other in keys)
            keys[place : place + 1] = [slice(None)] * (x.ndim - used)
            break
    dim, tensors = 0, list[Tensor | None]()
    for one in keys:
        if isinstance(one, int):
            x = x.select(dim, one)
            continue
        if one is None:
            x = x.unsqueeze(dim)
        elif isinstance(one, slice):
            x = torch.ops.aten.slice(x, dim, one.start, one.stop, one.step or 1)
        tensors.append(one if isinstance(one, Tensor) else None)
        dim += 1
    has_tensor = any(one is not None for one in tensors)
    return torch.ops.aten.index(x, tensors) if has_tensor else x


@pytest.fixture(params=["cuda:0", "cuda:1"])
def gpu(request: pytest.FixtureRequest) -> Iterator[torch.device]:
    """A GPU that is not there; what is made once for a device must not outlive it."""
    made_once = (noise._words, transforms._channels, ops._places)
    for kept in made_once:
        kept.cache_clear()
    with FakeTensorMode(allow_non_fake_inputs=True), Indexing(), torch.no_grad():
        yield torch.device(request.param)
    for kept in made_once:
        kept.cache_clear()


def moved(of: Any, device: torch.device) -> Any:
    values = {field.name: getattr(of, field.name) for field in dataclasses.fields(of)}
    tensors = {name: value.to(device) for name, value in values.items() if isinstance(value, Tensor)}
    return dataclasses.replace(of, **tensors, **({"device": device} if "device" in values else {}))


def devices(*values: Tensor | None) -> set[torch.device]:
    return {value.device for value in values if value is not None}


@pytest.mark.parametrize(("name", "fields"), CASES, ids=str)
def test_masks_are_chosen_applied_and_measured_on_the_gpu(
    gpu: torch.device, name: str, fields: dict[str, Any]
) -> None:
    strategy = configure(name, fields)
    view = moved(VIEW, gpu)
    chosen: Selection = strategy.select(view, draws=Draws.of_batch(3, seed=0, device=gpu))
    shown = chosen.shown(24)
    assert view.images is not None
    assert view.tokens is not None
    rows, state = TokenRows.shortened(view.tokens, chosen, 0)
    found = [rows, chosen.effective_ratio(24), state.key_mask(rows), state.weighed(rows)]
    found += [*chosen.diagnostics.values(), overlap(shown, shown), top_edges_kept(view.images, (8, 8), shown)]
    found += objects_kept(object_shares(torch.ones(3, 32, 48, device=gpu), (8, 8)), shown).values()
    found.append(coarse(view.images, (16, 24)))
    if chosen.into is not None:
        found.append(averaged(view.images, chosen.view(0).into, (8, 8)))  # type: ignore[arg-type]  # it is there
    if isinstance(strategy, Fuser):
        sizes = torch.ones(3, 24, device=gpu)
        into = strategy.fuse(BlockView(1, 4, 24, view.tokens.float(), sizes))
        assert into is not None
        found += absorb(view.tokens, into, strategy.token_counts(24, 4)[1], sizes)
    assert devices(*found) == {gpu}


@pytest.mark.parametrize("name", TEXT_STRATEGIES.builtin)
def test_captions_are_shortened_on_the_gpu(gpu: torch.device, name: str) -> None:
    view = moved(TEXTS, gpu)
    strategy = configure_text(name, {})
    stays = strategy.select(view, draws=Draws.of_batch(5, seed=0, device=gpu, of="texts"))
    assert devices(stays, shorten(view.ids, stays, strategy.keep or 20)) == {gpu}


@pytest.mark.parametrize("kind", ["softmax", "sigmoid"])
def test_pictures_are_normalised_and_the_loss_is_taken_on_the_gpu(gpu: torch.device, kind: str) -> None:
    pictures = torch.zeros(4, 3, 8, 8, dtype=torch.uint8, device=gpu)
    features = normalise(pictures, (0.5,) * 3, (0.2,) * 3).flatten(1)
    scale = torch.ones((), device=gpu)
    loss = contrastive_loss(kind)(features, features, scale, scale if kind == "sigmoid" else None)
    assert devices(features, loss) == {gpu}


def test_two_devices_are_noticed(gpu: torch.device) -> None:
    other = torch.device("cuda", 1 - (gpu.index or 0))
    view = dataclasses.replace(moved(VIEW, gpu), images=torch.zeros(3, 3, 32, 48, device=other))
    with pytest.raises(RuntimeError, match="device"):
        configure("pgs", {}).select(view, draws=Draws.of_batch(3, seed=0, device=gpu))


@pytest.mark.parametrize(("name", "fields"), CASES, ids=str)
def test_a_step_and_what_is_logged_of_it_stay_on_the_device(
    monkeypatch: pytest.MonkeyPatch, name: str, fields: dict[str, Any]
) -> None:
    monkeypatch.setattr(torch, "autocast", lambda *_, **__: nullcontext())  # there is none without data
    monkeypatch.setattr(
        masked_tower, "select_checked", lambda strategy, view, draws: strategy.select(view, draws=draws)
    )
    clip = build("tiny-vit", seed=0, device="meta")
    masking = attach(clip.model.train(), configure(name, fields))
    batch = next(MadeUp(clip.tokenize, clip.image_size).batches(seed=0, batch_size=4))
    masking.begin_step(seed=0, step=3, samples=batch.samples, progress=0.5, objects=batch.objects)
    out = clip.model(batch.images.float().to("meta"), batch.texts.to("meta"))
    sum(value.float().sum() for value in out.values()).backward()
    assert masking.last is not None
    shares = masking._object_shares(torch.device("meta"))
    found = masking.last.diagnostics | objects_kept(shares, masking.shown(len(shares)))
    assert {value.device.type for value in found.values()} == {"meta"}
