"""Studies and the fields of their strategies."""

from __future__ import annotations

from pathlib import Path

from pgsbench.study.open import open_study

HALF = """
from dataclasses import dataclass
from pgsbench.masking.base import Selection

@dataclass(frozen=True)
class Half:
    needs = frozenset()

    @property
    def mask_ratio(self):
        return 0.5

    def select(self, view, *, generator):
        raise AssertionError("never asked")
"""


def test_the_ratio_of_the_base_goes_to_strategies_that_have_such_a_field(tmp_path: Path) -> None:
    (tmp_path / "half.py").write_text(HALF)
    (tmp_path / "study.yaml").write_text(
        "strategy: {name: pgs, mask_ratio: 0.75}\n"
        "arms: {flip: {strategy: flip}, none: {strategy: none}, half: {strategy: 'half.py:Half'}}\n"
    )
    study = open_study(tmp_path / "study.yaml")
    fields = {arm: study.run_config(arm, {}, 0).strategy.fields for arm in ("flip", "none", "half")}
    assert fields == {"flip": {"mask_ratio": 0.75}, "none": {}, "half": {}}
