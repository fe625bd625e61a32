"""The tables of findings, on pictures of the tiny world."""

from __future__ import annotations

from pathlib import Path

import pytest
from tinyworld import TinyWorld

from pgsbench.errors import ConfigError
from research.findings import findings


def test_findings_show_the_published_code_beside_its_repairs(tiny: TinyWorld) -> None:
    parts, edges = findings([], data=str(tiny.shards), count=4, model="tiny-vit")
    assert "cosine of embeddings with and without it, untrained tower, 4 pictures" in list(parts["what"])
    row = edges.set_index("mask").loc["pgs-released, true edge map"]
    assert list(row.index) == ["kept, 30% masked", "IoU, 30% masked", "kept, 50% masked", "IoU, 50% masked"]
    assert row.between(0, 1).all()
    with pytest.raises(ConfigError, match="two or more pictures"):
        findings([Path("one.png")], data="", count=2, model=None)
