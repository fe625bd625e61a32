"""Deviations from the published setting: none goes unseen, and the study of the paper explains its own."""

from __future__ import annotations

from pathlib import Path

import pytest

from pgsbench import open_study
from pgsbench.cli.app import app
from pgsbench.errors import ConfigError
from pgsbench.reporting.runs.deviations import deviation_frame, deviation_table
from pgsbench.study.open import open_by_name, open_study_file
from pgsbench.study.published import compare_with_published, published, settings_of
from pgsbench.study.study_file import StudyFile

#: Settings that change no result, or that decide none where the published value of another one holds.
NOT_COMPARED = {
    *("data.workers", "data.memory_limit_gib", "data.max_bad_share", "evaluation.batch_size", "budget"),
    *("training.log_every_steps", "training.checkpoint_every_steps", "training.checkpoint_every_minutes"),
    *("training.keep_states", "training.shard_optimizer", "training.unmasked_tuning.lr_scale"),
}


def study(tmp_path: Path, text: str) -> StudyFile:
    path = tmp_path / "mine.yaml"
    path.write_text(text)
    return open_study_file(path)


def deviating(file: StudyFile) -> dict[str, tuple[object, object, tuple[str, ...], str | None]]:
    return {
        one.setting: (one.here, one.published, one.arms, one.why)
        for one in compare_with_published(file).deviations
    }


def test_the_study_of_the_paper_explains_every_deviation() -> None:
    file = open_by_name("paper")
    found = compare_with_published(file)
    assert all(one.why for one in found.deviations)
    assert {one.setting for one in found.deviations} == set(file.config.explained), (
        "and explains nothing else"
    )
    assert {arm: method and method.name for arm, method in found.methods.items()} == {
        name: name for name in file.config.arm_names
    }


def test_every_setting_is_published_open_or_of_no_consequence() -> None:
    file = open_by_name("paper")
    common, _ = published()
    for arm, method in compare_with_published(file).methods.items():
        assert method is not None
        known = {*common, *method.settings, *method.open, *NOT_COMPARED}
        unknown = set(settings_of(file, arm)) - known
        assert not unknown, arm
        # `views` and, of built-in data, recipes are named only where they are set.
        assert set(common) | set(method.open) <= set(settings_of(file, arm)), arm


def test_the_published_training_is_that_of_the_released_script() -> None:
    training = open_by_name("paper").config.training
    assert training.samples == 32 * 10_968_539
    assert (training.num_warmup_steps, training.steps) == (10_000, 85_691)
    assert (training.batch_size, training.learning_rate, training.weight_decay) == (8 * 512, 1e-3, 0.2)
    assert (training.beta1, training.beta2, training.eps) == (0.9, 0.98, 1e-6)
    assert (training.precision, training.grad_clip_norm) == ("fp16", None)
    assert training.unmasked_tuning.share == 0


@pytest.mark.parametrize(
    ("override", "setting", "here"),
    [
        ("training.beta2=0.95", "training.beta2", 0.95),
        ("training.precision=auto", "training.precision", "bf16"),
        ("data.augment=none", "data.augment", "none"),
        ("training.warmup_steps=7", "training.warmup_steps", 7),
        ("budget={equal: samples, amount: 4.096e+8}", "training.samples", 409_600_000),
        ("seeds=[0, 1, 2]", "seeds", [0, 1, 2]),
        ("strategy.candidate_share=0.1", "strategy.candidate_share", 0.1),
        ("text={strategy: random, keep: 16}", "text.strategy", "random"),
    ],
)
def test_what_is_changed_is_a_deviation_that_nobody_has_explained(
    override: str, setting: str, here: object
) -> None:
    less = ["training.samples=24576", "training.warmup_steps=null"] if "budget" in override else []
    before = deviating(open_by_name("paper"))
    after = deviating(open_by_name("paper", overrides=[*less, override]))
    assert setting not in before
    assert (after[setting][0], after[setting][3]) == (here, None)


def test_what_is_open_deviates_from_nothing() -> None:
    overrides = ["strategy.tau=0.7", "strategy.edge_penalty=2.0"]
    assert deviating(open_by_name("paper", overrides=overrides)) == deviating(open_by_name("paper"))


def test_an_arm_is_compared_with_the_nearest_method_of_its_strategy(tmp_path: Path) -> None:
    file = study(
        tmp_path,
        "strategy: {name: pgs, mask_ratio: 0.3, max_ratio: 0.6}\n"
        "arms:\n"
        "  half: {strategy: {mask_ratio: 0.5, max_ratio: null}}\n"
        "  pgs-0.3: {strategy: {max_ratio: null}}\n"
        "  own: {strategy: grid}\n",
    )
    methods = compare_with_published(file).methods
    assert {arm: method and method.name for arm, method in methods.items()} == {
        "pgs": "pgs-0.3",
        "half": "pgs",
        "pgs-0.3": "pgs-0.3",  # one setting from both, so by name
        "own": None,
    }
    found = deviating(file)
    rows = [(one.here, one.published, one.arms) for one in compare_with_published(file).deviations]
    assert (0.6, 0.5, ("pgs",)) in rows
    assert (None, 0.5, ("pgs-0.3",)) in rows
    assert found["training.batch_size"][2] == ("pgs", "half", "pgs-0.3", "own")
    assert "own" not in {arm for path, row in found.items() if path.startswith("strategy.") for arm in row[2]}


def test_an_explanation_stands_beside_its_deviation(tmp_path: Path) -> None:
    text = "strategy: pgs\nexplained:\n  training.weight_decay: Less data wants less.\n"
    frame = deviation_frame(study(tmp_path, text))
    why = dict(zip(frame["setting"], frame["why"], strict=True))
    assert why["training.weight_decay"] == "Less data wants less."
    assert why["training.batch_size"] is None
    table = deviation_table("mine", frame)
    assert ["0.1", "0.2", "Less data wants less."] in [list(row[1:4]) for row in table.cells()]
    assert ["64", "4,096", "NOT EXPLAINED"] in [list(row[1:4]) for row in table.cells()]
    assert f"{len(frame)} deviations, {len(frame) - 1} not explained." in table.notes


def test_an_explanation_of_no_setting_is_refused(tmp_path: Path) -> None:
    file = study(tmp_path, "explained: {training.weight_deca: why}")
    with pytest.raises(ConfigError, match="no arm has") as caught:
        compare_with_published(file)
    assert "mine.yaml:1: explained.training.weight_deca" in caught.value.where
    assert "training.weight_decay" in caught.value.way_out


def test_the_command_and_python_need_no_data(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    app(["plan", "paper", "--diff", "paper", "--output", str(tmp_path)], standalone_mode=False)
    said = capsys.readouterr().out
    assert "0 not explained" in said
    assert "NOT EXPLAINED" not in said
    frame = open_study("paper", output=tmp_path, device="cpu").deviations()
    assert list(frame.columns) == ["setting", "here", "published", "why", "arms", "source"]
    assert set(frame["setting"]) == {"model.grad_checkpointing", "strategy.threshold"}
    assert frame.set_index("setting").loc["strategy.threshold", "arms"] == "e-clip"
