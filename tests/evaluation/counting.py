"""How much passes through the towers of a model."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from torch import Tensor, nn

#: What `counted` says where no model was asked.
NOTHING = {"encode_image": 0, "encode_text": 0}


@contextmanager
def counted(model: nn.Module) -> Iterator[dict[str, int]]:
    """Count the pictures and texts that pass through the towers."""
    seen = {"encode_image": 0, "encode_text": 0}
    originals = {name: getattr(model, name) for name in seen}

    def watch(name: str) -> Callable[[Tensor], Tensor]:
        def tower(batch: Tensor) -> Tensor:
            seen[name] += len(batch)
            return originals[name](batch)

        return tower

    for name in seen:
        setattr(model, name, watch(name))
    try:
        yield seen
    finally:
        for name in seen:
            delattr(model, name)
