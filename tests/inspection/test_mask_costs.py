"""The table of ``bench masks``: each row and ratio is what its name says."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from pgsbench.errors import PluginError
from pgsbench.inspection import mask_costs
from pgsbench.inspection.mask_costs import ReleasedWithBias, TowerCost, table_of
from pgsbench.inspection.timing import MaskCost
from pgsbench.masking.pgs_released import PgsReleased
from pgsbench.masking.testing import draws_for, make_view
from pgsbench.models.clip import Clip, build


@pytest.fixture(scope="module")
def clip() -> Clip:
    return build("tiny-vit", seed=0)


def measure(clip: Clip, *names: str) -> dict[str, list[str]]:
    table = mask_costs.mask_costs(
        clip, "tiny-vit", names, batch_size=2, device=torch.device("cpu"), repetitions=1
    )
    return {"": list(table.notes)} | {row[0]: list(row[1:]) for row in table.cells()}


def test_every_mask_has_its_rows_and_the_published_code_is_the_reference(clip: Clip) -> None:
    rows = measure(clip, "random", "pgs")
    assert list(rows)[1:] == [
        "random",
        "pgs, pixels only",
        "  edge",
        "  similarity",
        "  OTN",
        "  selection",
        "pgs, pixels and tokens",
        "pgs-released",
        "  z-score",
        "pgs-released + attention bias",
    ]
    assert rows["pgs-released"][3] == "1.00×"
    assert rows["random"][4:] == ["8", "50.0%", "0.0"]
    assert float(rows["pgs-released"][6]) > 0
    assert "`mask_share`" in " ".join(rows[""])
    assert "CPU threads: 1, torch" in rows[""][0]


def test_ratios_divide_what_they_name() -> None:
    measured = [
        MaskCost("pgs, pixels only", 3.0, 2.0, 8, 0.5, 2**19),
        MaskCost("pgs-released", 9.0, 8.0, 8, 0.5, 2**21),
    ]
    tower = TowerCost(400.0, "float32")
    table = table_of(measured, {"pgs, pixels only": {"edge": 1.0}}, tower, ["Here."])
    assert table.cells()[0] == [
        "pgs, pixels only",
        "2.00",
        "3.00",
        "0.500%",
        "0.25×",
        "8",
        "50.0%",
        "0.5",
    ]
    assert table.cells()[1][:5] == ["  edge", "1.00", "", "0.250%", "0.12×"]
    assert table.cells()[2][-1] == "2.0"
    assert table.notes[0] == "Here."


def test_an_uneven_measurement_is_warned_of() -> None:
    even, uneven = MaskCost("pgs-released", 9.0, 8.0, 8, 0.5, 0), MaskCost("random", 3.0, 2.0, 8, 0.5, 0)
    tower = TowerCost(400.0, "float32")
    assert "Warning" not in " ".join(table_of([even], {}, tower, []).notes)
    note = table_of([even, uneven], {}, tower, ["Here."]).notes[1]
    assert note.startswith("Warning: the median is more than 1.3 times the fastest for random: the machine")


def test_a_strategy_that_cannot_run_is_named_and_the_others_are_measured(clip: Clip, tmp_path: Path) -> None:
    (tmp_path / "broken.py").write_text(
        "from dataclasses import dataclass\n"
        "@dataclass(frozen=True)\n"
        "class Broken:\n"
        "    mask_ratio: float = 0.5\n"
        "    needs = frozenset()\n"
        "    def select(self, view, *, draws):\n"
        "        raise RuntimeError('no luck')\n"
    )
    rows = measure(clip, f"{tmp_path}/broken.py:Broken", "random")
    assert "cannot run here (RuntimeError: no luck)" in rows[""][1]
    assert "random" in rows
    with pytest.raises(PluginError, match="did you mean 'pgs'"):
        measure(clip, "pgz")


def test_the_bias_changes_nothing_but_the_cost() -> None:
    view = make_view(batch_size=2)
    released = PgsReleased()
    plain, biased = (
        strategy.select(view, draws=draws_for(view, 1)).keep
        for strategy in (released, ReleasedWithBias(released, num_heads=4))
    )
    assert torch.equal(plain, biased)
    assert ReleasedWithBias(released, 4).mask_ratio == 0.5
