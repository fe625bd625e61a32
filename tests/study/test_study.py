"""Studies and the fields of their strategies."""

from __future__ import annotations

from pathlib import Path

import pytest

from pgsbench.errors import ConfigError
from pgsbench.study.compared import check_comparison
from pgsbench.study.open import open_by_name, open_study_file
from pgsbench.study.plan import with_arms

HALF = """
from dataclasses import dataclass
from pgsbench.masking.base import Selection

@dataclass(frozen=True)
class Half:
    needs = frozenset()

    @property
    def mask_ratio(self):
        return 0.5

    def select(self, view, *, draws):
        raise AssertionError("never asked")
"""


def test_the_ratio_of_the_base_goes_to_strategies_that_have_such_a_field(tmp_path: Path) -> None:
    (tmp_path / "half.py").write_text(HALF)
    (tmp_path / "study.yaml").write_text(
        "strategy: {name: pgs, mask_ratio: 0.75}\n"
        "arms: {flip: {strategy: flip}, none: {strategy: none}, half: {strategy: 'half.py:Half'}}\n"
    )
    study = open_study_file(tmp_path / "study.yaml")
    fields = {arm: study.run_config(arm, {}, 0).strategy.fields for arm in ("flip", "none", "half")}
    assert fields == {"flip": {"mask_ratio": 0.75}, "none": {}, "half": {}}


def test_a_variant_of_a_study_with_a_long_name_has_a_name_that_a_study_can_have(tmp_path: Path) -> None:
    path = tmp_path / f"{'n' * 100}.yaml"
    path.write_text("{}")
    study = open_study_file(path).variant("abc123")
    assert study.config.name == f"{'n' * 93}-abc123"
    assert type(study.config).model_validate(study.config.model_dump()) == study.config


def test_a_study_has_no_endless_seeds(tmp_path: Path) -> None:
    path = tmp_path / "study.yaml"
    path.write_text("{}")
    assert open_study_file(path).with_seeds(range(3)).config.seeds == [0, 1, 2]
    with pytest.raises(ConfigError, match="at most 1,000 seeds"):
        open_study_file(path).with_seeds(range(10**9))
    for none in ([], [0, 0], [-1], "2", [0.5]):  # a record with these could never be read again
        with pytest.raises(ConfigError, match="seeds are one or more different whole numbers"):
            open_study_file(path).with_seeds(none)  # type: ignore[arg-type]


def test_one_text_is_no_list_of_names(tmp_path: Path) -> None:
    path = tmp_path / "study.yaml"
    path.write_text("{}")
    with pytest.raises(ConfigError, match=r"overrides: .*\n  -> \['training.samples=64'\]"):
        open_by_name(path, overrides="training.samples=64")
    with pytest.raises(ConfigError, match=r"baselines: a list of names is needed"):
        check_comparison("pgs", "flip")
    with pytest.raises(ConfigError, match=r"arms: a list of names is needed"):
        with_arms(open_study_file(path), "flip")
