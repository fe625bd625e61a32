"""The objective: one reading of the same name for scores and for a suite."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from made_scores import scores_of
from tinyworld import TinyWorld

from pgsbench.config.schema import ModelConfig
from pgsbench.config.search import SearchConfig
from pgsbench.errors import StudyError
from pgsbench.evaluation.suite import load_suite
from pgsbench.records.run_records import Summary
from pgsbench.records.scores import GroupMean, Score
from pgsbench.study.objective import Objective, check_costs


def group(value: float) -> GroupMean:
    return GroupMean(value, value, value, n_tasks=1, chance=0.1)


SCORES = scores_of(
    [Score("t/x", "a", "zero_shot", "acc1", 0.9, 10, 0.8, 1.0, 0.1, primary=True)],
    {"a": group(0.2), "b": group(0.6)},
)


@pytest.mark.parametrize(("name", "value"), [("mean", 0.4), ("b", 0.6), ("t/x/acc1", 0.9)])
def test_the_value_is_a_mean_a_group_or_a_tasks(name: str, value: float) -> None:
    assert Objective(name).value(SCORES) == pytest.approx(value)


def test_a_suite_is_asked_before_anything_is_measured(tiny: TinyWorld) -> None:
    suite = load_suite(tiny.suite)
    for name in ("mean", "retrieval", "tiny/colour/acc1", "tiny/colour/acc5"):
        Objective(name).check(suite)
    with pytest.raises(StudyError, match="did you mean 'retrieval'"):
        Objective("retrievel").check(suite)
    with pytest.raises(StudyError, match="tiny/colour/acc1"):
        Objective("tiny/color/acc1").check(suite)


@pytest.mark.parametrize(("device", "seconds"), [("cpu", 7.0), ("cuda", 4.0)])
def test_training_time_is_the_reports_on_every_device(device: str, seconds: float) -> None:
    summary = Summary(1, 32, 4.0, 7.0, 8.0, 0.0, 0.5, 0.3, 8, 8, 1000, 2.0)
    assert Objective("train_seconds", is_cost=True).value_of(None, summary, device) == seconds


TIMM = "vit_medium_patch16_gap_256"


@pytest.mark.parametrize(
    ("search", "device", "model", "where"),
    [
        ({"metric": ["mean", "-memory"]}, "cpu", "tiny-vit", "search.metric"),
        ({"at_most": {"memory": 1e9}}, "cpu", "tiny-vit", "search.at_most"),
        ({"metric": ["mean", "-flops"]}, "cuda", TIMM, "search.metric"),
        ({"at_most": {"memory": 1e9}, "metric": ["mean", "-flops"]}, "cuda", "tiny-vit", ""),
        ({"at_most": {"tokens": 1e9}, "metric": ["mean", "-train_seconds"]}, "cpu", TIMM, ""),
    ],
)
def test_a_cost_that_will_not_be_measured(
    monkeypatch: pytest.MonkeyPatch, search: dict[str, Any], device: str, model: str, where: str
) -> None:
    if model == TIMM:  # building it takes seconds; tests of the models say that it has no cost
        monkeypatch.setattr("pgsbench.models.pair_cost.sizes_for", lambda _: SimpleNamespace(cost=None))
    config, models = SearchConfig(space={"seed": [0]}, **search), [ModelConfig(name=model)]
    if not where:
        check_costs(config, device, models)
        return
    with pytest.raises(StudyError) as caught:
        check_costs(config, device, models)
    assert caught.value.where == where
    assert "take tokens or train_seconds" in caught.value.way_out
