"""Whole captions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from pgsbench.masking.text.base import TextNeed, TextView


@dataclass(frozen=True)
class WholeText:
    """Whole captions: plain CLIP.

    CLIP (arXiv 2103.00020) reads the whole context, padding included.
    """

    keep: ClassVar[int | None] = None
    needs: ClassVar[frozenset[TextNeed]] = frozenset()

    def select(self, view: TextView, *, generator: torch.Generator) -> Tensor:
        """Keep every token."""
        del generator
        return view.tokens
