from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn.functional import normalize

from pgsbench.evaluation import ranking
from pgsbench.evaluation.ranking import ranks_of_right


def drawn(*shape: int, seed: int = 0) -> Tensor:
    return normalize(torch.randn(*shape, generator=torch.Generator().manual_seed(seed)), dim=-1)


def one_by_one(
    queries: Tensor, groups: Tensor, candidates: Tensor, candidate_groups: Tensor
) -> list[tuple[int, int]]:
    """The definition of the last and the first rank, without any matrix."""
    ranks = []
    for query, group in zip(queries, groups, strict=True):
        scores = [float(query.double() @ candidate.double()) for candidate in candidates]
        of = list(zip(scores, candidate_groups.tolist(), strict=True))
        best = max(score for score, g in of if g == group)
        wrong = [score for score, g in of if g != group]
        ranks.append((sum(score >= best for score in wrong), sum(score > best for score in wrong)))
    return ranks


@pytest.mark.parametrize("chunk", [1, 100, 1 << 24])
def test_ranks_are_as_defined(chunk: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ranking, "CHUNK", chunk)
    queries, candidates = drawn(20, 8), drawn(30, 8, seed=1)
    groups, owners = torch.arange(20) % 7, torch.arange(30) % 7
    found = ranks_of_right(queries, groups, candidates, owners)
    expected = one_by_one(queries, groups, candidates, owners)
    assert list(zip(found.last.tolist(), found.first.tolist(), strict=True)) == expected
    assert 0 < found.hits(1).mean() < 1
    assert found.num_ties(1) == 0


@pytest.mark.parametrize("k", [1, 3, 5])
def test_ties_are_those_that_decide(k: int) -> None:
    queries, candidates = drawn(40, 8), drawn(12, 8, seed=1).repeat(2, 1)  # each candidate twice
    groups, owners = torch.arange(40) % 24, torch.arange(24)
    found = ranks_of_right(queries, groups, candidates, owners)
    ranks = one_by_one(queries, groups, candidates, owners)
    assert list(zip(found.last.tolist(), found.first.tolist(), strict=True)) == ranks
    assert found.num_ties(k) == sum(last >= k > first for last, first in ranks)
    assert 0 < found.num_ties(k) < 40


@pytest.mark.parametrize(("num", "width"), [(5, 7), (5, 33), (37, 33), (17, 33), (50, 7), (101, 33)])
def test_equal_candidates_tie_whatever_the_matrix_product_does(num: int, width: int) -> None:
    """Products of one row with equal columns can differ in the last bit, depending on the column's place."""
    for num_queries in (1, 2, 9, 64):
        queries, candidates = drawn(num_queries, width), drawn(1, width, seed=1).repeat(num, 1)
        for right in (0, num - 1):
            groups = torch.full((num_queries,), right)
            ranks = ranks_of_right(queries, groups, candidates, torch.arange(num))
            assert (ranks.last == num - 1).all()
            assert (ranks.first == 0).all()
            assert ranks.num_ties(1) == num_queries
