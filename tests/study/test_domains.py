"""Domains of a search: which values a grid tries, what is drawn, and what belongs to them."""

from __future__ import annotations

from typing import Any

import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from tinyworld import TinyWorld

from pgsbench.config.domains import Listed, Range
from pgsbench.errors import ConfigError
from pgsbench.execution.adviser import distribution
from pgsbench.study.open import open_study_file
from pgsbench.study.space import domains_of


def test_a_span_with_whole_ends_and_step_stays_whole() -> None:
    assert Range(low=2, high=10, step=4).grid() == [2, 6, 10]
    assert all(isinstance(value, int) for value in Range(low=2.0, high=10.0, step=4.0).grid())
    assert Range(low=0.1, high=0.3, step=0.1).grid() == [0.1, 0.2, 0.3]
    assert Range(low=0, high=1, step=0.4).grid() == [0.0, 0.4, 0.8]  # the end is not reached


@pytest.mark.parametrize(
    "domain",
    [
        Listed(choices=[0.5, "a", None, True]),
        Range(low=0.1, high=0.7, step=0.1),
        Range(low=2, high=9, step=3),
        Range(low=0.1, high=10.0, log=True),
        Range(low=2, high=32, log=True, step=1),
        Range(low=-1.0, high=1.0),
    ],
)
def test_ends_middle_and_grid_belong_to_the_domain(domain: Listed | Range) -> None:
    values = [*domain.ends(), domain.middle(), domain.rounded(domain.middle())]
    if isinstance(domain, Listed) or domain.step is not None:
        values += domain.grid() if isinstance(domain, Listed) or not domain.log else []
    assert all(domain.contains(value) for value in values)


@pytest.mark.parametrize(
    ("domain", "value"),
    [
        (Listed(choices=[1, 2]), True),
        (Listed(choices=[1, 2]), 3),
        (Range(low=0.0, high=1.0), 1.1),
        (Range(low=0.0, high=1.0), True),
        (Range(low=0.0, high=1.0), "0.5"),
        (Range(low=0.0, high=1.0, step=0.4), 0.5),
        (Range(low=0.0, high=1.0, step=0.4), 1.0),
    ],
)
def test_what_does_not_belong_to_a_domain(domain: Listed | Range, value: Any) -> None:
    assert not domain.contains(value)


def test_optuna_draws_from_the_same_values() -> None:
    assert distribution(Listed(choices=[1, None])) == CategoricalDistribution([1, None])
    assert distribution(Range(low=2, high=32, log=True, step=1)) == IntDistribution(2, 32, log=True)
    assert distribution(Range(low=0.0, high=1.0, step=0.25)) == FloatDistribution(0.0, 1.0, step=0.25)


MIXED = "strategy={name: pgs-mixed, mask_ratio: 0.5}"


@pytest.mark.parametrize("sampler", ["grid", "tpe"])
@pytest.mark.parametrize("field", ["edge_spread", "neighbourhood", "rounds"])
def test_a_range_over_a_field_of_whole_numbers_needs_no_step(
    tiny: TinyWorld, field: str, sampler: str
) -> None:
    space = f"search={{sampler: {sampler}, trials: 9, space: {{strategy.{field}: {{low: 1, high: 3}}}}}}"
    study = open_study_file(tiny.study, overrides=[MIXED, space])
    assert domains_of(study)[f"strategy.{field}"].grid() == [1, 2, 3]


def test_an_end_is_refused_as_it_was_written_and_with_its_line(tiny: TinyWorld) -> None:
    space = "search={sampler: tpe, trials: 2, space: {strategy.rounds: {low: -1, high: 1.5}}}"
    with pytest.raises(ConfigError) as raised:
        open_study_file(tiny.study, overrides=[space])
    text = str(raised.value)
    assert text.startswith(f"{tiny.study}: 2 problems")
    assert f"--set {space}: search.space.strategy.rounds (arm pgs): rounds must be" in text
    assert "(got -1)" in text
    assert "input should be a valid integer (got 1.5)" in text


def test_a_value_that_is_right_beside_other_searched_ones_is_no_mistake(tiny: TinyWorld) -> None:
    ratios = "strategy.mask_ratio: {low: 0.3, high: 0.9}, strategy.max_ratio: {low: 0.3, high: 0.9}"
    search = "search={{sampler: tpe, trials: 2, space: {{{}}}}}"
    open_study_file(tiny.study, overrides=[search.format(ratios)])
    with pytest.raises(ConfigError, match="max_ratio must be at least mask_ratio"):
        open_study_file(tiny.study, overrides=[search.format("strategy.max_ratio: {low: 0.3, high: 0.9}")])
    with pytest.raises(ConfigError, match=r"max_ratio must be in|less than"):
        open_study_file(tiny.study, overrides=[search.format(ratios.replace("high: 0.9}", "high: 1.9}"))])
