"""Text strategies in a study: set, inherited, searched."""

from __future__ import annotations

from typing import Any

from tinyworld import TinyWorld

from pgsbench.records.run_spec import RunSpec
from pgsbench.study.open import open_study_file
from pgsbench.study.plan import Planner, grid_points

ARMS = (
    "arms={words: {text: frequency}, first: {text: {strategy: truncate, keep: 4}}, whole: {text: none}, "
    "image: {strategy: flip}}"
)


def planned(tiny: TinyWorld, *overrides: str, **params: Any) -> dict[str, RunSpec]:
    study = open_study_file(tiny.study, overrides=["search=null", *overrides])
    planner = Planner(study)
    return {arm: planner.spec(arm, 0, params) for arm in study.config.arm_names}


def test_arms_inherit_the_budget_and_nothing_else_of_another_text_strategy(tiny: TinyWorld) -> None:
    runs = planned(tiny, "text={strategy: random, keep: 6}", ARMS)
    texts = {arm: run.config.text.model_dump() for arm, run in runs.items()}
    assert texts["pgs"] == texts["image"] == {"strategy": "random", "keep": 6}
    assert texts["words"] == {"strategy": "frequency", "keep": 6, "threshold": 1e-6, "min_count": 5}
    assert texts["first"] == {"strategy": "truncate", "keep": 4}
    assert texts["whole"] == {"strategy": "none"}
    assert len({run.id for run in runs.values()}) == 5


def test_a_searched_strategy_takes_over_the_budget_alone(tiny: TinyWorld) -> None:
    study = open_study_file(
        tiny.study,
        overrides=[
            "text={strategy: frequency, keep: 6, threshold: 0.01}",
            "arms={tight: {text: {keep: 4}}}",
            "search={space: {text.strategy: [none, random, frequency]}, arms: [pgs, tight]}",
        ],
    )
    found = [Planner(study).spec(point.arm, 0, point.params).config.text for point in grid_points(study)]
    assert [text.model_dump() for text in found[:3]] == [
        {"strategy": "none"},
        {"strategy": "random", "keep": 6},
        {"strategy": "frequency", "keep": 6, "threshold": 0.01, "min_count": 5},
    ]
    assert [text.fields.get("keep") for text in found[3:]] == [None, 4, 4]
