"""Embeddings that are kept: whose they are, what damage costs, and who makes room."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from evalsets import run

from pgsbench.evaluation.cache import EmbeddingCache
from pgsbench.models.clip import Clip


@pytest.mark.parametrize("byte", [b"\x00", b"\xff"])  # zeros, or NaN
def test_a_file_of_the_cache_that_holds_something_else_is_as_none(byte: bytes, tmp_path: Path) -> None:
    cache = EmbeddingCache(tmp_path, "model")
    cache.add("image", [b"k" * 16, b"l" * 16], torch.eye(2, 8))
    (path,) = cache.folder.iterdir()
    content = path.read_bytes()
    path.write_bytes(content[:-32] + byte * 32)
    assert list(cache.blocks("image")) == []
    assert list(cache.folder.iterdir()) == []


def test_a_cache_that_cannot_be_made_is_said_and_done_without(
    tiny: Clip, suite: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (suite.parent / "file").touch()
    report = run(tiny, suite, cache=suite.parent / "file" / "embeddings")
    assert len(report.primary()) == 4
    warning = capsys.readouterr().err
    assert warning.startswith("warning: embeddings are not kept: [Errno 20] Not a directory")
    assert warning.count("\n") == 1
