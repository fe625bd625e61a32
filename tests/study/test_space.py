"""The search space of a study: which paths and values it may name, checked when the study is opened."""

from __future__ import annotations

import dataclasses

import pytest
from tinyworld import TinyWorld

from pgsbench.errors import ConfigError
from pgsbench.masking.pgs_mixed import PgsMixed
from pgsbench.study.domains import Span
from pgsbench.study.open import open_study_file
from pgsbench.study.space import domains_of


@pytest.mark.parametrize(
    "space",
    ["{strategy.mask_ratio: [0.5, 1.5]}", "{strategy.taw: [1.0]}", "{traning.eps: [1]}", "{seed: [1]}"],
)
def test_a_space_that_no_run_can_have_is_refused(tiny: TinyWorld, space: str) -> None:
    with pytest.raises(ConfigError, match=r"search\.space\."):
        open_study_file(tiny.study, overrides=[f"search.space={space}"])


#: Two values of every field of pgs-mixed, which has those of pgs; one that is missing here fails the test.
PGS_VALUES = {
    "mask_ratio": "[0.25, 0.5]",
    "max_ratio": "[null, 0.75]",
    "threshold": "{low: -1, high: 1}",
    "candidate_share": "[0.02, 0.2]",
    "edge": "[sobel, none]",
    "edge_weight": "{low: 0, high: 2}",
    "edge_penalty": "{low: 0, high: 2}",
    "edge_spread": "{low: 0, high: 2, step: 1}",
    "pattern_side": "[null, 4]",
    "colour_weight": "{low: 0, high: 1}",
    "token_weight": "{low: 0, high: 1}",
    "otn": "[true, false]",
    "tau": "{low: 0.05, high: 1, log: true}",
    "rounds": "{low: 0, high: 20, step: 2}",
    "neighbourhood": "[null, 2]",
    "random_share": "{low: 0, high: 1}",
}


MIXED = "strategy={name: pgs-mixed, mask_ratio: 0.5}"


@pytest.mark.parametrize("field", [field.name for field in dataclasses.fields(PgsMixed)])
def test_every_field_of_pgs_mixed_can_be_searched(tiny: TinyWorld, field: str) -> None:
    space = f"search={{sampler: tpe, trials: 2, space: {{strategy.{field}: {PGS_VALUES[field]}}}}}"
    open_study_file(tiny.study, overrides=[MIXED, space])


@pytest.mark.parametrize("sampler", ["grid", "tpe"])
@pytest.mark.parametrize("field", ["edge_spread", "neighbourhood", "rounds"])
def test_a_range_over_a_field_of_whole_numbers_needs_no_step(
    tiny: TinyWorld, field: str, sampler: str
) -> None:
    space = f"search={{sampler: {sampler}, trials: 9, space: {{strategy.{field}: {{low: 1, high: 3}}}}}}"
    study = open_study_file(tiny.study, overrides=[MIXED, space])
    assert domains_of(study)[f"strategy.{field}"].grid() == [1, 2, 3]


def test_a_range_over_a_field_of_real_numbers_keeps_them_all(tiny: TinyWorld) -> None:
    space = "search={sampler: tpe, trials: 9, space: {strategy.edge_weight: {low: 0, high: 3}}}"
    study = open_study_file(tiny.study, overrides=[space])
    assert domains_of(study) == {"strategy.edge_weight": Span(0.0, 3.0)}


def test_whole_numbers_on_a_logarithmic_scale(tiny: TinyWorld) -> None:
    space = "search={sampler: tpe, trials: 2, space: {training.batch_size: {low: 2, high: 32, log: true}}}"
    study = open_study_file(tiny.study, overrides=[space])
    assert domains_of(study) == {"training.batch_size": Span(2.0, 32.0, log=True, step=1.0)}


def test_an_end_is_refused_as_it_was_written_and_with_its_line(tiny: TinyWorld) -> None:
    space = "search={sampler: tpe, trials: 2, space: {strategy.rounds: {low: -1, high: 1.5}}}"
    with pytest.raises(ConfigError) as raised:
        open_study_file(tiny.study, overrides=[space])
    text = str(raised.value)
    assert text.startswith(f"{tiny.study}: 2 problems")
    assert f"--set {space}: search.space.strategy.rounds (arm pgs): rounds must be" in text
    assert "(got -1)" in text
    assert "input should be a valid integer (got 1.5)" in text


@pytest.mark.parametrize("metric", ["mean", "classification", "tiny/colour/acc5"])
def test_the_objective_is_of_the_suite(tiny: TinyWorld, metric: str) -> None:
    open_study_file(tiny.study, overrides=[f"search.metric={metric}"])


def test_another_metric_is_refused_with_its_place(tiny: TinyWorld) -> None:
    with pytest.raises(
        ConfigError, match=r"--set search.metric=clasif.*no such score[^!]*did you mean 'classification'"
    ):
        open_study_file(tiny.study, overrides=["search.metric=clasification"])


def test_a_value_that_is_right_beside_other_searched_ones_is_no_mistake(tiny: TinyWorld) -> None:
    ratios = "strategy.mask_ratio: {low: 0.3, high: 0.9}, strategy.max_ratio: {low: 0.3, high: 0.9}"
    search = "search={{sampler: tpe, trials: 2, space: {{{}}}}}"
    open_study_file(tiny.study, overrides=[search.format(ratios)])
    with pytest.raises(ConfigError, match="max_ratio must be at least mask_ratio"):
        open_study_file(tiny.study, overrides=[search.format("strategy.max_ratio: {low: 0.3, high: 0.9}")])
    with pytest.raises(ConfigError, match=r"max_ratio must be in|less than"):
        open_study_file(tiny.study, overrides=[search.format(ratios.replace("high: 0.9}", "high: 1.9}"))])
