"""Study files: their meaning, and that every mistake is named with its place and a way out."""

from __future__ import annotations

from pathlib import Path

import pytest
from study_files import complaint, load

from pgsbench.config.schema import StudyConfig, arm_name
from pgsbench.config.yaml_text import parse_yaml
from pgsbench.study.open import open_study_file


def test_yaml_has_the_meaning_of_version_1_2() -> None:
    data, lines = parse_yaml("a: 1e-3\nb: no\nc:\n  d: [0o17, 0x1f]\n", "x")
    assert data == {"a": 1e-3, "b": "no", "c": {"d": [15, 31]}}
    assert (lines["c.d"], lines["c.d.1"]) == (4, 4)


def test_an_empty_study_is_the_default_study(tmp_path: Path) -> None:
    study = load(tmp_path, "{}")
    assert study.config.name == "study"
    assert study.config.arm_names == ["pgs"]
    assert study.run_config("pgs", {}, 3).seed == 3


def test_a_mistake_of_the_base_is_reported_once_and_not_for_each_arm(tmp_path: Path) -> None:
    text = complaint(tmp_path, "strategy: {bad: 1}\narms: {a: {}, b: {}}\n")
    assert text.count("strategy.bad") == 1


@pytest.mark.parametrize(
    ("strategy", "arm"),
    [
        ("pgs", "pgs"),
        ("my/half.py:_Half", "Half"),
        ("their/half mask", "their-half-mask"),
        ("x.py:Ü", "strategy"),
    ],
)
def test_the_arm_of_a_strategy_has_a_name_that_an_arm_can_have(strategy: str, arm: str) -> None:
    assert arm_name(strategy) == arm_name(arm) == arm
    assert StudyConfig(strategy=strategy, arms={arm: {}}).arm_names == [arm]


def test_overrides_win_and_are_named_in_messages(tmp_path: Path) -> None:
    study = load(tmp_path, "strategy: pgs", "training.samples=8192", "strategy.tau=1e-1", "model=tiny-vit")
    run = study.run_config("pgs", {}, 0)
    assert run.training.samples == 8192
    assert run.strategy.fields["tau"] == 0.1
    assert run.model.name == "tiny-vit"
    text = complaint(tmp_path, "{}", "training.sample=3")
    assert "--set training.sample=3: training.sample: unknown key" in text


@pytest.mark.parametrize(
    ("base", "arm", "ratio"),
    [
        ("{name: pgs, mask_ratio: 0.75}", "flip", 0.75),
        ("{name: pgs, mask_ratio: 0.75}", "pgs-mixed", 0.75),
        ("{name: pgs, mask_ratio: 0.75}", "pgs-released", 0.5),
        ("{name: pgs, mask_ratio: 0.75}", "cluster", 0.3),
        ("{name: pgs, mask_ratio: 0.3, max_ratio: 0.7}", "flip", 0.5),
        ("{name: cluster, mask_ratio: 0.4}", "flip", 0.5),
    ],
)
def test_a_ratio_is_inherited_only_where_it_means_the_same(
    tmp_path: Path, base: str, arm: str, ratio: float
) -> None:
    study = load(tmp_path, f"strategy: {base}\narms: {{other: {{strategy: {arm}}}}}\n")
    assert study.run_config("other", {}, 0).strategy.fields["mask_ratio"] == ratio


def test_a_variant_of_a_study_with_a_long_name_has_a_name_that_a_study_can_have(tmp_path: Path) -> None:
    path = tmp_path / f"{'n' * 100}.yaml"
    path.write_text("{}")
    study = open_study_file(path).variant("abc123")
    assert study.config.name == f"{'n' * 93}-abc123"
    assert type(study.config).model_validate(study.config.model_dump()) == study.config
