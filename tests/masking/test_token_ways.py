"""Other ways to spend image tokens: centred masks, smaller pictures, several views, merged tokens."""

from __future__ import annotations

import math
import re
from typing import Any

import pytest
import torch

from pgsbench.errors import ConfigError
from pgsbench.masking.base import Selection, Strategy
from pgsbench.masking.configure import configure, fields_of
from pgsbench.masking.coverage import appearance
from pgsbench.masking.fewer_tokens import Resize, Tome, bipartite_merge
from pgsbench.masking.guided import Cluster
from pgsbench.masking.ops import patchify
from pgsbench.masking.options import ManyViews, Merged
from pgsbench.masking.pgs import Pgs
from pgsbench.masking.random import Random, density
from pgsbench.masking.testing import StrategyContract, draws_for, make_view


class TestViews(StrategyContract):
    @pytest.fixture(params=[Random(0.5), Pgs(0.5)], ids=["random", "pgs"])
    def strategy(self, request: Any) -> Strategy:
        return ManyViews(request.param, 2)


class TestMergedIntoNearest(StrategyContract):
    exact_length = False  # clusters carry more than they show

    @pytest.fixture(params=[Random(0.5), Cluster(0.3)], ids=["random", "cluster"])
    def strategy(self, request: Any) -> Strategy:
        return Merged(request.param)


class TestViewsOfMerged(StrategyContract):
    @pytest.fixture
    def strategy(self) -> Strategy:
        return ManyViews(Merged(Random(0.5)), 3)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_the_density_is_that_of_the_formula() -> None:
    values = density((3, 5), 0.2)
    for row in range(3):
        for col in range(5):
            x, y = -1 + 2 * col / 4, -1 + 2 * row / 2
            expected = math.exp(-(x * x + y * y) / 0.4) / (2 * math.pi * 0.2)
            assert float(values[row * 5 + col]) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize(
    ("grid", "ratio", "expected"),
    [
        ((14, 14), 0.5, (10, 10)),  # 160 px of 224: what GLIP's tables have
        ((14, 14), 0.75, (7, 7)),
        ((8, 8), 0.5, (6, 6)),
        ((4, 8), 0.75, (2, 4)),
        ((14, 14), 0.0, (14, 14)),
        ((1, 1), 0.5, (1, 1)),
    ],
)
def test_the_size_whose_patches_fit_the_budget(
    grid: tuple[int, int], ratio: float, expected: tuple[int, int]
) -> None:
    assert Resize(ratio).grid_for(grid) == expected


@pytest.mark.parametrize("ratio", [0.1, 0.25, 0.4])
@pytest.mark.parametrize("blocks", [3, 4, 12])
def test_merging_meets_its_budget_with_as_little_as_it_can(ratio: float, blocks: int) -> None:
    counts = Tome(ratio).token_counts(196, blocks)
    assert counts[0] == 196
    assert sum(counts) / blocks <= 196 * (1 - ratio)
    step = counts[0] - counts[1]
    one_less = [196]
    while len(one_less) < blocks:
        one_less.append(one_less[-1] - min(step - 1, one_less[-1] // 2))
    assert sum(one_less) / blocks > 196 * (1 - ratio)


def test_three_merges_agree_with_the_published_code() -> None:
    # Computed by `bipartite_soft_matching` of facebookresearch/ToMe (commit af95e4b, tome/merge.py) with a
    # class token, given the same keys before each merge. A token is named by its patches, in hexadecimal.
    published = [
        ["24f 5abc 36789 01de", "234f 79abcd 568 01e"],
        ["4 3789 bc 2f 6 5a 01de", "34 58 cd 2f 6 79ab 01e"],
        ["3 5 b 0d 2f 4 6 789 a c 1e", "5 7 d 0 2f 34 6 8 9ab c 1e"],
    ]
    rows = [[format(patch, "x") for patch in range(16)] for _ in range(2)]
    for block, count in enumerate([5, 4, 3]):
        m = len(rows[0])
        keys = torch.cos(
            torch.arange(2 * m * 4, dtype=torch.float64).reshape(2, m, 4) * (1.7 + block)
        ).float()
        for picture, into in enumerate(bipartite_merge(keys, count).tolist()):
            tokens = [""] * (m - count)
            for token, column in zip(rows[picture], into, strict=True):
                tokens[column] += token
            rows[picture] = ["".join(sorted(token)) for token in tokens]
        assert [" ".join(row) for row in rows] == published.pop()


def test_dropped_patches_join_the_nearest_kept_one() -> None:
    view = make_view()
    chosen = Merged(Random(0.5)).select(view, draws=draws_for(view))
    plain = Random(0.5).select(view, draws=draws_for(view))
    assert torch.equal(chosen.keep, plain.keep)
    assert view.images is not None
    assert chosen.into is not None
    for patches, keep, into in zip(patchify(view.images, (8, 8)), chosen.keep, chosen.into, strict=True):
        for patch in range(64):
            distances = [float((patches[patch] - patches[other]).square().sum()) for other in keep.tolist()]
            assert int(into[patch]) == distances.index(min(distances))
    assert bool(chosen.shown(64).all())
    assert float(chosen.effective_ratio(64)) == 0.0


def test_hidden_patches_merge_as_well() -> None:
    view = make_view()
    plain = Cluster(0.3, threshold=0.1).select(view, draws=draws_for(view))
    assert plain.visible is not None
    assert not bool(plain.visible.all())
    chosen = Merged(Cluster(0.3, threshold=0.1)).select(view, draws=draws_for(view))
    assert bool(chosen.shown(64).all())


def test_views_are_drawn_one_after_another() -> None:
    view = make_view()
    draws = draws_for(view)
    views = ManyViews(Random(0.5), 3).select(view, draws=draws_for(view))
    for number in range(3):
        assert torch.equal(views.view(number).keep, Random(0.5).select(view, draws=draws).keep)
    shown = torch.stack([views.view(number).shown(64) for number in range(3)])
    assert torch.equal(views.shown(64), shown.any(dim=0))
    assert float(views.effective_ratio(64)) == 0.5


def test_a_study_turns_options_on_and_off() -> None:
    assert configure("flip", {"views": 1, "merge": None}) == configure("flip", {})
    both = configure("pgs", {"mask_ratio": 0.75, "views": 2, "merge": "nearest"})
    assert both == ManyViews(Merged(Pgs(0.75)), 2)
    assert configure("pgs", fields_of(both)) == both
    assert {"views", "merge"} & fields_of(configure("pgs", {})).keys() == set()


@pytest.mark.parametrize(
    ("name", "fields", "words"),
    [
        ("flip", {"views": 0}, "strategy.views.*from 2 to 64"),
        ("flip", {"views": True}, "strategy.views"),
        ("flip", {"views": "two"}, "strategy.views"),
        ("flip", {"merge": "all"}, "strategy.merge.*nearest or null"),
        ("resize", {"views": 2}, "strategy.views.*Resize keeps all"),
        ("tome", {"merge": "nearest"}, "strategy.merge.*Tome keeps all"),
        ("flip", {"view": 2}, "strategy.view.*views"),
    ],
)
def test_a_wrong_option_names_its_field(name: str, fields: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError) as error:
        configure(name, fields)
    assert re.search(words, " ".join(str(error.value).split()))


def test_a_smaller_picture_looks_coarse_and_a_masked_one_as_it_is() -> None:
    view = make_view()
    images = torch.rand(3, 3, 64, 64, generator=generator())
    seen = appearance(Resize(0.75), Resize(0.75).select(view, draws=draws_for(view)), view, images)
    assert seen is not None
    assert seen.shape == images.shape
    assert torch.equal(seen[..., 0::2, 0::2], seen[..., 1::2, 1::2])  # 32 pixels, each shown twice
    assert appearance(Random(0.5), Random(0.5).select(view, draws=draws_for(view)), view, images) is None


def test_a_selection_counts_what_is_thrown_away() -> None:
    into = torch.tensor([[0, 0, -1, 1]])
    selection = Selection(torch.tensor([[0, 3]]), into=into)
    assert selection.shown(4).tolist() == [[True, True, False, True]]
    assert float(selection.effective_ratio(4)) == 0.25
