"""Smaller pictures, several views and merged tokens inside a tower: each equals a slow way to do the same."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import open_clip
import pytest
import torch
import torch.nn.functional as F
from open_clip.model import CLIP
from small_tower import tiny as smaller
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from pgsbench.masking.base import Strategy
from pgsbench.masking.fewer_tokens import Resize, Tome, bipartite_merge
from pgsbench.masking.guided import Attentive
from pgsbench.masking.options import ManyViews, Merged
from pgsbench.masking.pgs import Pgs
from pgsbench.masking.random import NoMask, Random
from pgsbench.masking.token_counts import token_count
from pgsbench.models.masked_tower import attach
from pgsbench.models.pair_cost import model_cost
from pgsbench.models.token_rows import absorb

POOLS: list[dict[str, Any]] = [{}, {"pool_type": "avg"}, {"pool_type": "avg", "final_ln_after_pool": True}]

WAYS: dict[str, Strategy] = {
    "none": NoMask(),
    "random": Random(0.5),
    "resize": Resize(0.5),
    "views": ManyViews(Random(0.5), 2),
    "nearest": Merged(Random(0.5)),
    "views of merged": ManyViews(Merged(Pgs(0.5)), 2),
    "tome": Tome(0.25),
    "attentive": Attentive(0.5),
}


def tiny(**vision: Any) -> CLIP:
    return smaller(layers=3, **vision)


def embedded(model: CLIP, strategy: Strategy, images: Tensor, seed: int = 0) -> Tensor:
    masking = attach(model, strategy)
    masking.begin_step(seed=seed, step=0)
    out: Tensor = model.encode_image(images)
    return out


@contextmanager
def counting() -> Iterator[FlopCounterMode]:
    """Count matrix products; the counter knows no formula for the CPU's fused attention."""
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        yield counter


@pytest.mark.parametrize("strategy", [Resize(0.0), ManyViews(Random(0.0), 2), Merged(Random(0.0))])
def test_at_ratio_zero_each_view_is_the_plain_model(strategy: Strategy, images: Tensor) -> None:
    model = tiny()
    plain = model.encode_image(images)
    for view in embedded(model, strategy, images).split(len(images)):
        assert torch.equal(view, plain)


def test_a_smaller_picture_is_what_open_clip_makes_of_a_smaller_tower() -> None:
    model = tiny(image_size=(48, 48))  # square: open_clip's own resampling knows no other towers
    images = torch.randn(3, 3, 48, 48, generator=torch.Generator().manual_seed(1))
    small = tiny(image_size=(32, 32))
    assert Resize(0.5).grid_for((6, 6)) == (4, 4)
    weights = model.state_dict()
    open_clip.model.resize_pos_embed(weights, small)
    small.load_state_dict(weights)
    shrunk = F.interpolate(images, (32, 32), mode="bicubic", antialias=True)
    torch.testing.assert_close(
        embedded(model, Resize(0.5), images), small.encode_image(shrunk), atol=2e-6, rtol=1e-5
    )


@pytest.mark.parametrize("vision", POOLS, ids=str)
def test_views_are_pictures_of_their_own(vision: Any, images: Tensor) -> None:
    model = tiny(**vision)
    masking = attach(model, ManyViews(Random(0.5), 2))
    masking.begin_step(seed=0, step=0)
    both = model.encode_image(images)
    assert masking.num_views == 2
    chosen = masking.last
    assert chosen is not None

    class Given(NoMask):
        def select(self, view: Any, *, draws: Any) -> Any:
            return chosen.view(number)

    for number in range(2):
        alone = embedded(model, Given(), images)
        torch.testing.assert_close(both[3 * number : 3 * number + 3], alone, atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("vision", POOLS, ids=str)
def test_a_merged_token_counts_as_often_as_its_patches(vision: Any) -> None:
    # Where all patches that merge are alike, tokens and code, the tower with all of them says the same.
    model = tiny(**vision)
    with torch.no_grad():
        model.visual.positional_embedding[1:] = 0.0
    dark, light = torch.zeros(1, 3, 8, 8), torch.ones(1, 3, 8, 8)
    rows = [torch.cat([dark] * 3 + [light] * 3, dim=3)] * 4
    images = torch.cat(rows, dim=2)
    whole = model.encode_image(images)
    torch.testing.assert_close(embedded(model, Merged(Random(0.5)), images), whole, atol=2e-6, rtol=1e-5)


def naive_tome(model: CLIP, images: Tensor, counts: tuple[int, ...]) -> Tensor:
    """Token merging with a row of tokens for each picture, attention written out."""
    visual = model.visual
    rows = []
    for x in visual._embeds(images):
        sizes = torch.ones(len(x))
        for depth, block in enumerate(visual.transformer.resblocks):
            q, k, v = (
                F.linear(block.ln_1(x), w, b)
                for w, b in zip(
                    block.attn.in_proj_weight.chunk(3), block.attn.in_proj_bias.chunk(3), strict=True
                )
            )
            if depth and counts[depth] < counts[depth - 1]:
                heads = k[1:].view(len(k) - 1, 2, 16).mean(dim=1)
                into = bipartite_merge(heads[None], counts[depth - 1] - counts[depth])[0]
                groups = [(into == token).nonzero().flatten() + 1 for token in range(counts[depth])]
                x = torch.stack(
                    [
                        x[0],
                        *((x[g] * sizes[g, None]).sum(dim=0) / sizes[g].sum() for g in groups),
                    ]
                )
                sizes = torch.stack([sizes[0], *(sizes[g].sum() for g in groups)])
                q, k, v = (
                    F.linear(block.ln_1(x), w, b)
                    for w, b in zip(
                        block.attn.in_proj_weight.chunk(3), block.attn.in_proj_bias.chunk(3), strict=True
                    )
                )
            parts = []
            for head in range(2):
                part = slice(16 * head, 16 * head + 16)
                logits = q[:, part] @ k[:, part].T / 4 + sizes.log()
                parts.append(logits.softmax(dim=1) @ v[:, part])
            x = x + block.attn.out_proj(torch.cat(parts, dim=1))
            x = x + block.mlp(block.ln_2(x))
        rows.append(x)
    pooled = visual.ln_post(torch.stack(rows))[:, 0]
    return pooled @ visual.proj


@pytest.mark.parametrize("checkpointing", [False, True])
def test_token_merging_equals_its_naive_twin_and_so_do_its_gradients(
    checkpointing: bool, images: Tensor
) -> None:
    model = tiny()
    expected = naive_tome(model, images, Tome(0.25).token_counts(24, 3))
    expected.square().sum().backward()
    gradients = [p.grad.clone() for p in model.visual.parameters() if p.grad is not None]
    model.zero_grad()
    model.visual.set_grad_checkpointing(checkpointing)
    out = embedded(model, Tome(0.25), images)
    out.square().sum().backward()
    torch.testing.assert_close(out, expected, atol=5e-6, rtol=1e-5)
    found = [p.grad for p in model.visual.parameters() if p.grad is not None]
    assert len(found) == len(gradients) > 10
    for one, other in zip(found, gradients, strict=True):
        torch.testing.assert_close(one, other, atol=2e-5, rtol=1e-4)


def test_all_that_merged_is_known_afterwards(images: Tensor) -> None:
    model = tiny()
    masking = attach(model, Tome(0.25))
    masking.begin_step(seed=0, step=0)
    model.encode_image(images)
    seen = masking.appearance(images)
    assert seen is not None
    patches = seen.unfold(2, 8, 8).unfold(3, 8, 8).permute(0, 2, 3, 1, 4, 5).flatten(1, 2).flatten(2)
    left = Tome(0.25).token_counts(24, 3)[-1]
    assert [len(picture.unique(dim=0)) for picture in patches] == [left] * 3
    assert bool(masking.shown(3).all())


def test_thrown_away_tokens_are_in_no_mean() -> None:
    tokens = torch.tensor([[[1.0], [3.0], [100.0], [5.0]]])
    merged, sizes = absorb(tokens, torch.tensor([[0, 0, -1, 1]]), 2, torch.tensor([[1.0, 3.0, 1.0, 1.0]]))
    assert merged.tolist() == [[[2.5], [5.0]]]
    assert sizes.tolist() == [[4.0, 1.0]]


@pytest.mark.parametrize("name", WAYS)
def test_tokens_and_flops_are_those_of_the_plan_and_of_a_counter(name: str, images: Tensor) -> None:
    strategy, model = WAYS[name], tiny()
    masking = attach(model, strategy)
    masking.begin_step(seed=0, step=0)
    with counting() as counter:
        model.visual(images)
    planned = token_count(strategy, masking.grid, 3)
    assert masking.token_count == planned
    cost = model_cost(model)
    assert cost is not None
    expected = cost.visual_flops(planned)
    counted = counter.get_total_flops() / len(images)
    if name in ("none", "random", "resize", "views"):  # the others compute something to choose or to merge
        assert counted == expected
    else:
        assert expected <= counted <= 1.9 * expected
