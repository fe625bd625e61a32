"""The table of the costs of masks: each row and ratio is what its name says."""

from __future__ import annotations

import pytest
import torch

from benchmarks.masks import mask_costs, table_of
from benchmarks.timing import MaskCost
from pgsbench.errors import PluginError
from pgsbench.masking import STRATEGIES
from pgsbench.models.clip import build


def test_every_mask_has_its_rows_and_the_published_code_is_the_reference() -> None:
    clip, cpu = build("tiny-vit", seed=0), torch.device("cpu")
    table, tower = mask_costs(clip, list(STRATEGIES.builtin), batch_size=2, device=cpu, repetitions=1)
    rows = table.set_index("mask")
    assert {"random", "tome", "pgs, pixels only", "pgs, pixels and tokens", "pgs-released"} <= set(rows.index)
    assert rows.loc["pgs-released", "x of released"] == 1
    assert rows.loc["pgs-released", "peak MiB"] > 0
    assert list(rows.loc["random", ["tokens kept", "effective ratio"]]) == [8, 0.5]
    assert tower > 0
    with pytest.raises(PluginError, match="did you mean 'pgs'"):
        mask_costs(clip, ["pgz"], batch_size=2, device=cpu)


def test_ratios_divide_what_they_name() -> None:
    measured = [
        MaskCost("pgs, pixels only", 3.0, 2.0, 8, 0.5, 2**19),
        MaskCost("pgs-released", 9.0, 8.0, 8, 0.5, 2**21),
    ]
    table = table_of(measured, 400.0)
    assert list(table.iloc[0]) == ["pgs, pixels only", 2.0, 3.0, 0.5, 0.25, 8, 0.5, 0.5]
    assert table["peak MiB"].iloc[1] == 2.0
