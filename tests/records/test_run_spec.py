"""Run specs: equal ids exactly where the training is, and the same spec after any journey."""

from __future__ import annotations

import pickle
from dataclasses import replace
from pathlib import Path

import pytest

from pgsbench.config.schema import EvaluationConfig, RunConfig
from pgsbench.errors import RunError
from pgsbench.hashing import canonical_json
from pgsbench.models.architectures import file_hash_of
from pgsbench.records.json_files import read_record, write_record
from pgsbench.records.run_spec import Numerics, RunSpec, short_path, short_paths

CPU = Numerics("cpu", "fp32", "2.13.0", 1)


def spec(changes: dict | None = None, **fields: object) -> RunSpec:
    given = {
        "study": "s",
        "arm": "pgs",
        "config": RunConfig.model_validate(changes or {}),
        "data": "shards-1",
        "strategy_code": "pgs",
        "model_file": "",
        "numerics": CPU,
    }
    return RunSpec.of(**{**given, **fields})


@pytest.mark.parametrize(
    "changes",
    [
        {"seed": 1},
        {"strategy": {"name": "pgs", "tau": 0.1}},
        {"training": {"learning_rate": 2e-3}},
        {"training": {"unmasked_tuning": {"share": 0.0}}},
        {"model": "tiny-vit"},
        {"model": {"locked": "image"}},
        {"model": {"image_size": 48}},
        {"training": {"loss": "sigmoid"}},
        {"training": {"compile": True}},
        {"training": {"warmup_steps": 0}},
        {"training": {"warmup_share": 0.1}},
    ],
)
def test_what_changes_the_training_changes_the_id(changes: dict) -> None:
    assert spec(changes).id != spec().id


@pytest.mark.parametrize(
    "fields",
    [
        {"data": "shards-2"},
        {"strategy_code": "another"},
        {"text_code": "random"},
        {"model_file": "abc"},
        {"pretrained": "abc"},
        {"numerics": replace(CPU, device="cuda", threads=0)},
        {"numerics": replace(CPU, precision="bf16")},
        {"numerics": replace(CPU, torch="2.14.0")},
        {"numerics": replace(CPU, threads=2)},
        {"results_version": 1},
    ],
)
def test_other_data_code_or_numerics_are_another_run(fields: dict) -> None:
    assert spec(**fields).id != spec().id


@pytest.mark.parametrize(
    "changes",
    [
        {"training": {"log_every_steps": 3}},
        {"training": {"warmup_steps": None}},
        {"training": {"checkpoint_every_steps": 3}},
        {"training": {"checkpoint_every_minutes": 1, "keep_states": 2, "micro_batch_size": 4}},
        {"training": {"precision": "fp32"}},  # what auto is resolved to here is among the numerics
        {"data": {"train": "elsewhere"}},
        {"data": {"workers": 1}},
        {"data": {"memory_limit_gib": 1}},
    ],
)
def test_what_does_not_change_the_training_keeps_the_id(changes: dict) -> None:
    assert spec(changes).id == spec().id


def test_micro_batches_are_another_training_where_the_mask_depends_on_the_batch() -> None:
    released = {"strategy": {"name": "pgs-released"}}
    ids = {spec({**released, "training": {"micro_batch_size": size}}).id for size in (4, 8)}
    assert len({spec(released).id, *ids}) == 3


def test_a_text_strategy_is_part_of_the_id_and_whole_captions_are_as_they_were() -> None:
    ids = {
        spec({"text": {"strategy": "random", "keep": keep}}, text_code=code).id
        for keep in (6, 8)
        for code in ("random", "another")
    }
    assert len(ids) == 4
    assert "text" not in spec().training
    assert spec().id == "df0cfedebc"  # another one means that all runs are trained anew


def test_who_asks_for_a_run_makes_no_difference() -> None:
    other = spec(study="t", arm="x", params={"a": 1}, evaluation=EvaluationConfig(suite="tiny-imagenet"))
    assert other.id == spec().id


def test_a_spec_is_the_same_after_pickling_and_after_a_file(tmp_path: Path) -> None:
    made = spec({"strategy": {"name": "pgs", "tau": 0.2}, "seed": 3}, params={"strategy.tau": 0.2})
    write_record(tmp_path / "spec.json", made)
    assert read_record(tmp_path / "spec.json", RunSpec, RunError) == made
    assert pickle.loads(pickle.dumps(made)) == made
    assert (made.name, made.folder) == ("pgs tau=0.2 s3", f"s/pgs-s3-{made.id}")


def test_a_damaged_record_is_named_and_a_missing_one_is_none(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text('{"id": "x"}')
    with pytest.raises(RunError, match=r"damaged file \(study: "):
        read_record(tmp_path / "a.json", RunSpec, RunError)
    assert read_record(tmp_path / "b.json", RunSpec, RunError) is None
    assert read_record(tmp_path / "a.json/b.json", RunSpec, RunError) is None


def test_a_model_in_a_file_is_its_content_wherever_it_lies(tmp_path: Path) -> None:
    files = [tmp_path / name / "model.json" for name in ("a", "b")]
    for file in files:
        file.parent.mkdir()
        file.write_text('{"layers": 2}')
    first, second = (file_hash_of(str(file)) for file in files)
    assert first == second != ""
    ids = {spec({"model": str(file)}, model_file=first).id for file in files}
    assert len(ids) == 1
    files[1].write_text('{"layers": 3}')
    assert file_hash_of(str(files[1])) != first
    assert file_hash_of("scenes-vit") == ""


def test_canonical_json_does_not_depend_on_order_and_refuses_nan() -> None:
    assert canonical_json({"b": 1, "a": [1.0, 2]}) == canonical_json({"a": [1.0, 2], "b": 1})
    with pytest.raises(ValueError, match="not JSON compliant"):
        canonical_json(float("nan"))


@pytest.mark.parametrize(
    ("path", "shown"),
    [
        ("strategy.mask_ratio", "mask_ratio"),
        ("text.strategy", "text"),
        ("strategy.name", "strategy"),
        ("model.name", "model"),
        ("data.recipe.clutter", "clutter"),
    ],
)
def test_a_searched_path_is_short_and_says_what_it_names(path: str, shown: str) -> None:
    assert short_path(path) == shown


def test_paths_that_end_alike_are_told_in_full() -> None:
    paths = ["strategy.threshold", "text.threshold", "text.strategy", "data.recipe.seeds"]
    assert list(short_paths(paths).values()) == ["strategy.threshold", "text.threshold", "text", "seeds"]
    assert short_paths(paths, taken=["arm", "seeds"])["data.recipe.seeds"] == "data.recipe.seeds"
