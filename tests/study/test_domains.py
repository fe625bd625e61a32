"""Domains of a search: which values a grid tries, what is drawn, and what belongs to them."""

from __future__ import annotations

from typing import Any

import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

from pgsbench.execution.adviser import distribution
from pgsbench.study.domains import Choices, Span


def test_a_span_with_whole_ends_and_step_stays_whole() -> None:
    assert Span(2, 10, step=4).grid() == [2, 6, 10]
    assert all(isinstance(value, int) for value in Span(2.0, 10.0, step=4.0).grid())
    assert Span(0.1, 0.3, step=0.1).grid() == [0.1, 0.2, 0.3]
    assert Span(0, 1, step=0.4).grid() == [0.0, 0.4, 0.8]  # the end is not reached


@pytest.mark.parametrize(
    "domain",
    [
        Choices((0.5, "a", None, True)),
        Span(0.1, 0.7, step=0.1),
        Span(2, 9, step=3),
        Span(0.1, 10.0, log=True),
        Span(2, 32, log=True, step=1),
        Span(-1.0, 1.0),
    ],
)
def test_ends_middle_and_grid_belong_to_the_domain(domain: Choices | Span) -> None:
    values = [*domain.ends(), domain.middle(), domain.rounded(domain.middle())]
    if isinstance(domain, Choices) or domain.step is not None:
        values += domain.grid() if isinstance(domain, Choices) or not domain.log else []
    assert all(domain.contains(value) for value in values)


@pytest.mark.parametrize(
    ("domain", "value"),
    [
        (Choices((1, 2)), True),
        (Choices((1, 2)), 3),
        (Span(0.0, 1.0), 1.1),
        (Span(0.0, 1.0), True),
        (Span(0.0, 1.0), "0.5"),
        (Span(0.0, 1.0, step=0.4), 0.5),
        (Span(0.0, 1.0, step=0.4), 1.0),
    ],
)
def test_what_does_not_belong_to_a_domain(domain: Choices | Span, value: Any) -> None:
    assert not domain.contains(value)


def test_optuna_draws_from_the_same_values() -> None:
    assert distribution(Choices((1, None))) == CategoricalDistribution([1, None])
    assert distribution(Span(2, 32, log=True, step=1)) == IntDistribution(2, 32, log=True)
    assert distribution(Span(0.0, 1.0, step=0.25)) == FloatDistribution(0.0, 1.0, step=0.25)
