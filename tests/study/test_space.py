"""The search space of a study: which paths and values it may name, checked when the study is opened."""

from __future__ import annotations

import pytest
from tinyworld import TinyWorld

from pgsbench.errors import ConfigError
from pgsbench.study.open import open_study_file
from pgsbench.study.space import domains_of

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
