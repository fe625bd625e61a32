"""Run ids: equal exactly where the training is."""

from __future__ import annotations

from pathlib import Path

import pytest

from pgsbench.config.schema import RunConfig
from pgsbench.hashing import canonical_json, run_id


def config(**changes: object) -> RunConfig:
    return RunConfig.model_validate(changes)


@pytest.mark.parametrize(
    "changes",
    [
        {"seed": 1},
        {"strategy": {"name": "pgs", "tau": 0.1}},
        {"training": {"learning_rate": 2e-3}},
        {"training": {"unmasked_tuning": {"share": 0.0}}},
        {"model": "tiny-vit"},
        {"data": {"workers": 1}},
    ],
)
def test_what_changes_the_training_changes_the_id(changes: dict) -> None:
    assert run_id(config(**changes), "data", "pgs") != run_id(config(), "data", "pgs")


def test_other_data_is_another_run() -> None:
    assert run_id(config(), "a", "pgs") != run_id(config(), "b", "pgs")


@pytest.mark.parametrize(
    "changes",
    [
        {"training": {"log_every_steps": 3}},
        {"training": {"checkpoint_every_steps": 3}},
        {"data": {"train": "x"}},
    ],
)
def test_what_does_not_change_the_training_keeps_the_id(changes: dict) -> None:
    assert run_id(config(**changes), "data", "pgs") == run_id(config(), "data", "pgs")


def test_other_code_of_the_strategy_is_another_run() -> None:
    assert run_id(config(strategy="x"), "d", "1") != run_id(config(strategy="x"), "d", "2")
    assert run_id(config(strategy="a/x.py:X"), "d", "1") == run_id(config(strategy="b/x.py:X"), "d", "1")


def test_a_model_in_a_file_is_its_content_wherever_it_lies(tmp_path: Path) -> None:
    files = [tmp_path / name / "model.json" for name in ("a", "b")]
    for file in files:
        file.parent.mkdir()
        file.write_text('{"layers": 2}')
    first, second = (run_id(config(model=str(file)), "d", "pgs") for file in files)
    assert first == second
    files[1].write_text('{"layers": 3}')
    assert run_id(config(model=str(files[1])), "d", "pgs") != first


def test_canonical_json_does_not_depend_on_order_and_refuses_nan() -> None:
    assert canonical_json({"b": 1, "a": [1.0, 2]}) == canonical_json({"a": [1.0, 2], "b": 1})
    with pytest.raises(ValueError, match="not JSON compliant"):
        canonical_json(float("nan"))
