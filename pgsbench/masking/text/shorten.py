"""From what stays of captions to the ids that enter the text tower."""

from __future__ import annotations

from torch import Tensor


def shorten(ids: Tensor, stays: Tensor, length: int) -> Tensor:
    """Return (b, length) ids: what stays of each caption, moved together in its order, and 0 behind it.

    Args:
        ids: (b, l) token ids.
        stays: (b, l) bool, at most `length` True in each row.
        length: Tokens that enter the tower.
    """
    order = stays.logical_not().byte().argsort(dim=1, stable=True)[:, :length]
    return ids.gather(1, order).masked_fill(~stays.gather(1, order), 0)
