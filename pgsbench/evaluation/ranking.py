"""Where the right answer ranks among the candidates, with every tie decided against the model."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

#: Similarities held at a time.
CHUNK = 1 << 24


@dataclass(frozen=True)
class Ranks:
    """Where the right answers of n queries rank; without ties `last` and `first` are equal.

    Attributes:
        last: (n,) int64: how many wrong candidates do not score below the best right one.
        first: (n,) int64: how many score above it.
        nearest: (n,) int64: the candidate that scores highest, the first of those that tie.
    """

    last: Tensor
    first: Tensor
    nearest: Tensor

    def hits(self, k: int) -> NDArray[np.float64]:
        """Return (n,) whether the right answer is among the first k wherever ties put it: 0 or 1."""
        return (self.last < k).numpy().astype(np.float64)

    @property
    def rank(self) -> NDArray[np.int64]:
        """(n,) rank of the right answer, from 1 on, as `hits` counts it."""
        ranks: NDArray[np.int64] = self.last.numpy() + 1
        return ranks

    def num_ties(self, k: int) -> int:
        """Return how many queries miss the first k by nothing but a tie."""
        return int(((self.last >= k) & (self.first < k)).sum())


def ranks_of_right(
    queries: Tensor,
    query_groups: Tensor,
    candidates: Tensor,
    candidate_groups: Tensor,
) -> Ranks:
    """Return where the best right candidate of each query ranks.

    Last rank 0 is a hit at 1, below k a hit at k. A wrong candidate that ties with the right one counts as
    above it, and so does whatever cannot be compared (NaN): a model that answers everything alike gets
    nothing right. Without ties this is what top-k selection gives.

    Args:
        queries: (n, d) unit vectors.
        query_groups: (n,) group of each query; candidates of the same group are right, at least one is.
        candidates: (m, d) unit vectors.
        candidate_groups: (m,) group of each candidate.
    """
    # Equal candidates must get equal similarities; a matrix product promises that only for one column.
    distinct, column = distinct_rows(candidates)
    rows_at_a_time = max(1, CHUNK // len(candidates))
    last, first, nearest = [], [], []
    for start in range(0, len(queries), rows_at_a_time):
        stop = start + rows_at_a_time
        scores = (queries[start:stop] @ distinct.T)[:, column]
        right = query_groups[start:stop, None] == candidate_groups[None, :]
        best = scores.masked_fill(~right, -torch.inf).amax(dim=1, keepdim=True)
        last.append((~(scores < best) & ~right).sum(dim=1))
        first.append((scores > best).sum(dim=1))
        nearest.append(scores.argmax(dim=1))
    return Ranks(torch.cat(last), torch.cat(first), torch.cat(nearest))


def distinct_rows(vectors: Tensor) -> tuple[Tensor, Tensor]:
    """Return the (m, d) distinct rows of (n, d) vectors in order, and (n,) which of them each row is.

    What is encoded once has one embedding: equal rows are pictures or texts that are equal to the model.
    """
    first: dict[bytes, int] = {}
    column = [first.setdefault(row.tobytes(), len(first)) for row in vectors.numpy()]
    distinct = torch.empty(len(first), vectors.shape[1])
    distinct[column] = vectors
    return distinct, torch.tensor(column)


def num_repeated(vectors: Tensor) -> int:
    """Return how many rows of (n, d) vectors repeat an earlier one."""
    return len(vectors) - len(distinct_rows(vectors)[0])
