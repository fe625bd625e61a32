"""Embeddings by content: a picture is known by its file, a text by its token ids, whatever task asks."""

from __future__ import annotations

import hashlib

import torch
from torch import Tensor

from pgsbench.errors import EvaluationError


def content_key(content: bytes) -> bytes:
    """Return the key of a content: its BLAKE2b hash of 16 bytes."""
    return hashlib.blake2b(content, digest_size=16).digest()


class Table:
    """Rows of embeddings by content key.

    Args:
        kind: ``"image"`` or ``"text"``, for messages.
    """

    def __init__(self, kind: str) -> None:
        self._kind = kind
        self._row_of: dict[bytes, int] = {}
        self._blocks: list[Tensor] = []

    def __len__(self) -> int:
        return len(self._row_of)

    def row(self, key: bytes) -> tuple[int, bool]:
        """Return the row of a content, and whether it is new and still has to be appended."""
        is_new = key not in self._row_of
        return self._row_of.setdefault(key, len(self._row_of)), is_new

    def append(self, embeddings: Tensor) -> None:
        """Add (n, d) embeddings in the order in which their rows were asked for.

        Raises:
            EvaluationError: Some are not finite.
        """
        bad = int((~torch.isfinite(embeddings).all(dim=1)).sum())
        if bad:
            raise EvaluationError(
                f"{bad} of {len(embeddings)} {self._kind} embeddings of a batch are not finite",
                where=f"{self._kind} tower",
                way_out="the model has diverged or its weights are damaged; look at the training's loss",
            )
        self._blocks.append(embeddings)

    def take(self, rows: list[int]) -> Tensor:
        """Return the embeddings of these rows."""
        if not rows:
            return torch.empty(0, 0)
        if len(self._blocks) > 1:
            self._blocks = [torch.cat(self._blocks)]
        return self._blocks[0][rows]
