"""Study files: their meaning, and that every mistake is named with its place and a way out."""

from __future__ import annotations

from pathlib import Path

import pytest

from pgsbench.config.schema import StudyConfig, arm_name
from pgsbench.config.yaml_text import parse_yaml
from pgsbench.errors import ConfigError
from pgsbench.study.open import open_study_file
from pgsbench.study.study_file import StudyFile


def load(tmp_path: Path, text: str, *overrides: str) -> StudyFile:
    path = tmp_path / "study.yaml"
    path.write_text(text)
    return open_study_file(path, overrides=overrides)


def complaint(tmp_path: Path, text: str, *overrides: str) -> str:
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, text, *overrides)
    return str(caught.value)


def test_yaml_has_the_meaning_of_version_1_2() -> None:
    data, lines = parse_yaml("a: 1e-3\nb: no\nc:\n  d: [0o17, 0x1f]\n", "x")
    assert data == {"a": 1e-3, "b": "no", "c": {"d": [15, 31]}}
    assert (lines["c.d"], lines["c.d.1"]) == (4, 4)


def test_an_empty_study_is_the_default_study(tmp_path: Path) -> None:
    study = load(tmp_path, "{}")
    assert study.config.name == "study"
    assert study.config.arm_names == ["pgs"]
    assert study.run_config("pgs", {}, 3).seed == 3


def test_all_mistakes_are_named_at_once_with_line_rule_value_and_way_out(tmp_path: Path) -> None:
    text = complaint(
        tmp_path, "trainin: {}\ntraining:\n  learning_rat: 1e-3\n  batch_size: none\nseeds: [0, -1]\n"
    )
    assert text.startswith(f"{tmp_path}/study.yaml: 4 problems")
    assert "study.yaml:1: trainin: unknown key" in text
    assert "did you mean 'training'?" in text
    assert "study.yaml:3: training.learning_rat" in text
    assert "did you mean 'learning_rate'?" in text
    assert "study.yaml:4: training.batch_size: input should be a valid integer" in text
    assert "(got 'none')" in text
    assert "study.yaml:5: seeds.1: input should be greater than or equal to 0 (got -1)" in text


def test_a_mistake_in_an_arm_is_placed_in_the_arm(tmp_path: Path) -> None:
    text = complaint(
        tmp_path, "arms:\n  a: {strategy: {bad: 1}}\n  b:\n    training: {eps: -1}\n  c: {modle: x}\n"
    )
    assert "study.yaml:2: arms.a.strategy.bad" in text
    assert "study.yaml:4: arms.b.training.eps: input should be greater than 0 (got -1)" in text
    assert "study.yaml:5: arms.c.modle: unknown key" in text


def test_a_mistake_of_the_base_is_reported_once_and_not_for_each_arm(tmp_path: Path) -> None:
    text = complaint(tmp_path, "strategy: {bad: 1}\narms: {a: {}, b: {}}\n")
    assert text.count("strategy.bad") == 1


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a: [1", "not readable as YAML"),
        ("a: 1\na: 2", "duplicate key"),
        ("- 1", "a mapping of keys"),
        ("seeds: [1, 1]", "seeds must differ"),
        ("seeds: []", "at least 1 item"),
        ("search: {space: {a: {low: 2, high: 1}}, sampler: tpe, trials: 3}", "low must be below high"),
        (
            "search: {space: {strategy.tau: {low: 1, high: 2}}}",
            "study.yaml:1: search.space.strategy.tau: a grid needs choices or a `step`",
        ),
        (
            "search: {space: {training.eps: {low: 0.1, high: 1, log: true}}}",
            "a grid needs choices or a `step`",
        ),
        ("search: {space: {strategy.rounds: {low: 1, high: 2, log: true, step: 1}}}", "and no `log`"),
        ("search: {space: {a: {low: 1, high: 2, log: true, step: 2}}}", "no step but 1"),
        ("search: {space: {a: [1]}, sampler: tpe}", "needs `trials`"),
        ("search: {space: {a: [1]}, arms: [x]}", "search.arms.0: search.arms names no arm (got 'x')"),
        ("training: {samples: 8, batch_size: 64}", "samples (8) must be at least batch_size (64)"),
        ("name: a/b", "string should match pattern"),
        ("arms:\n  a/b: {}", "study.yaml:2: arms.a/b: string should match pattern"),
        ("arms: {../../x: {}}", "string should match pattern"),
        ("arms: {'': {}}", "string should match pattern"),
        (
            "arms:\n  a: {seed: 7}",
            "study.yaml:2: arms.a.seed: every arm is trained with the same seeds (got 7)",
        ),
        ("arms: {two words: {}}", "string should match pattern"),
    ],
)
def test_each_rule_has_its_message(tmp_path: Path, text: str, said: str) -> None:
    assert said in complaint(tmp_path, text)


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
