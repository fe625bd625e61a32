"""Whole captions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from pgsbench.masking.noise import Draws
from pgsbench.masking.text.base import TextNeed, TextView


@dataclass(frozen=True)
class WholeText:
    """Whole captions: plain CLIP.

    CLIP (arXiv 2103.00020) reads the whole context, padding included.
    """

    keep: ClassVar[int | None] = None
    needs: ClassVar[frozenset[TextNeed]] = frozenset()

    def select(self, view: TextView, *, draws: Draws) -> Tensor:
        """Keep every token."""
        del draws
        return view.tokens
