"""The first batches alone are those of the whole reader, and nothing else is decoded."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from tinyworld import TinyWorld

from pgsbench.data import first_batches, shards
from pgsbench.data.samples import Reader


def reader(tiny: TinyWorld, num_batches: int | None) -> Reader:
    return shards.open_reader(
        shards.resolve(str(tiny.shards)),
        image_size=(32, 32),
        tokenize=lambda texts: torch.tensor([[len(text)] for text in texts]),
        memory_limit_gib=1,
        workers=1,
        num_batches=num_batches,
    )


def test_they_are_the_batches_of_the_whole_reader_and_the_rest_is_not_decoded(
    tiny: TinyWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    decoded: list[str] = []
    decode = first_batches.decode

    def counted(data: bytes, size: tuple[int, int], *, where: str) -> Any:
        decoded.append(where)
        return decode(data, size, where=where)

    monkeypatch.setattr(first_batches, "decode", counted)
    first, whole = reader(tiny, 2), reader(tiny, None)
    assert first.has_objects == whole.has_objects
    for start in (0, 5):  # 96 pairs: step 5 is the last of an epoch
        numbers = {"seed": 3, "batch_size": 16, "start_step": start}
        found = list(first.batches(**numbers))
        assert len(found) == 2
        for ours, theirs in zip(found, whole.batches(**numbers), strict=False):
            assert torch.equal(ours.images, theirs.images)
            assert torch.equal(ours.texts, theirs.texts)
            assert ours.objects is not None
            assert theirs.objects is not None
            assert torch.equal(ours.objects, theirs.objects)
    assert 32 + 16 < len(decoded) <= 64
    list(first.batches(**numbers))
    assert len(decoded) <= 64  # the last ones are kept
