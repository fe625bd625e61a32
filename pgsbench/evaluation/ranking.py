"""Where the right answer ranks among the candidates, with every tie decided against the model."""

from __future__ import annotations

import torch
from torch import Tensor

#: Similarities held at a time.
CHUNK = 1 << 24


def ranks_of_right(
    queries: Tensor, query_groups: Tensor, candidates: Tensor, candidate_groups: Tensor
) -> Tensor:
    """Return (n,) int64: how many wrong candidates do not score below the best right one.

    Rank 0 is a hit at 1, rank < k a hit at k. A wrong candidate that ties with the right one counts as
    above it, and so does whatever cannot be compared (NaN): a model that answers everything alike gets
    nothing right. Without ties this is what top-k selection gives.

    Args:
        queries: (n, d) unit vectors.
        query_groups: (n,) group of each query; candidates of the same group are right, at least one is.
        candidates: (m, d) unit vectors.
        candidate_groups: (m,) group of each candidate.
    """
    # Equal candidates must get equal similarities; a matrix product promises that only for one column.
    distinct, column = _distinct_rows(candidates)
    rows_at_a_time = max(1, CHUNK // len(candidates))
    ranks = []
    for start in range(0, len(queries), rows_at_a_time):
        stop = start + rows_at_a_time
        scores = (queries[start:stop] @ distinct.T)[:, column]
        right = query_groups[start:stop, None] == candidate_groups[None, :]
        best = scores.masked_fill(~right, -torch.inf).amax(dim=1, keepdim=True)
        ranks.append((~(scores < best) & ~right).sum(dim=1))
    return torch.cat(ranks)


def _distinct_rows(vectors: Tensor) -> tuple[Tensor, Tensor]:
    first: dict[bytes, int] = {}
    column = [first.setdefault(row.tobytes(), len(first)) for row in vectors.numpy()]
    distinct = torch.empty(len(first), vectors.shape[1])
    distinct[column] = vectors
    return distinct, torch.tensor(column)
