"""Deviations from the published setting: none goes unseen, and the study of the paper explains its own."""

from __future__ import annotations

from pathlib import Path

import pytest
from study_files import load

from pgsbench.cli.app import app
from pgsbench.reporting.plan_tables import deviation_frame
from pgsbench.study.design import Design
from pgsbench.study.open import open_by_name
from pgsbench.study.published import compare_with_published


def deviating(file: Design) -> dict[str, tuple[object, object, tuple[str, ...], str | None]]:
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


@pytest.mark.parametrize(
    ("override", "setting", "here"),
    [
        ("training.precision=auto", "training.precision", "bf16"),
        ("data.augment=none", "data.augment", "none"),
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


def test_an_arm_is_compared_with_the_nearest_method_of_its_strategy(tmp_path: Path) -> None:
    file = load(
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


def test_the_command_needs_no_data(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    app(["plan", "paper", "--published", "--output", str(tmp_path)], standalone_mode=False)
    said = capsys.readouterr().out
    assert "0 not explained" in said
    assert "NOT EXPLAINED" not in said
    frame = deviation_frame(open_by_name("paper"))
    assert list(frame.columns) == ["setting", "here", "published", "why", "arms", "source"]
    assert set(frame["setting"]) == {"model.grad_checkpointing", "strategy.threshold"}
    assert frame.set_index("setting").loc["strategy.threshold", "arms"] == "e-clip"
