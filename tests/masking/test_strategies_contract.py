"""Every built-in strategy obeys the contract, in several settings."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from pgsbench.masking import STRATEGIES
from pgsbench.masking.base import Strategy
from pgsbench.masking.configure import configure
from pgsbench.masking.testing import StrategyContract

EXACT: list[tuple[str, dict[str, Any]]] = [
    ("none", {}),
    ("random", {"mask_ratio": 0.9}),
    ("flip", {}),
    ("centred", {"mask_ratio": 0.75}),
    ("oracle", {}),
    ("block", {"blocks": 3, "mask_ratio": 0.75, "max_aspect": 1.0}),
    ("cluster", {"threshold": -1.0}),
    ("cluster", {"token_weight": 1.0, "hide": False}),
    ("attentive", {}),
    ("attentive", {"block_side": 20, "mask_ratio": 0.75}),
    ("pgs", {}),
    ("pgs", {"edge_penalty": 2.0}),
    ("pgs", {"edge": "none", "tau": 0.1, "neighbourhood": 1}),
    ("pgs", {"neighbourhood": 2, "otn": False, "mask_ratio": 0.3, "max_ratio": 0.5}),
    ("pgs-mixed", {"mask_ratio": 0.3, "max_ratio": 0.5}),
    ("pgs-mixed", {"edge_penalty": 2.0, "random_share": 0.25}),
    ("pgs-mixed", {"edge": "none", "pattern_side": None, "neighbourhood": 1}),
    ("pgs-mixed", {"colour_weight": 1.0, "otn": False, "token_weight": 0.0}),
]
ROUNDED: list[tuple[str, dict[str, Any]]] = [
    ("resize", {}),
    ("tome", {"mask_ratio": 0.25}),
    ("grid", {"mask_ratio": 0.3, "phase": "fixed"}),
    ("grid", {"mask_ratio": 0.75}),
]
RELEASED: list[tuple[str, dict[str, Any]]] = [
    ("pgs-released", {}),
    ("pgs-released", {"otn": False, "mask_ratio": 0.3}),
]


class OfBuiltIn(StrategyContract):
    @pytest.fixture
    def strategy(self, case: tuple[str, dict[str, Any]]) -> Strategy:
        return configure(*case)

    def at_ratio_zero(self, strategy: Strategy) -> Strategy:
        if hasattr(strategy, "max_ratio"):
            strategy = dataclasses.replace(strategy, max_ratio=None)  # type: ignore[type-var]
        return super().at_ratio_zero(strategy)


@pytest.mark.parametrize("case", EXACT, ids=str)
class TestExact(OfBuiltIn):
    pass


@pytest.mark.parametrize("case", ROUNDED, ids=str)
class TestRounded(OfBuiltIn):
    exact_length = False


@pytest.mark.parametrize("case", RELEASED, ids=str)
class TestReleased(OfBuiltIn):
    exact_length = False
    images_are_independent = False


def test_every_builtin_is_tested_here() -> None:
    assert {name for name, _ in EXACT + ROUNDED + RELEASED} == set(STRATEGIES.builtin)
