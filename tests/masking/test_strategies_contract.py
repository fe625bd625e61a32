"""Every built-in strategy obeys the contract, in several settings."""

from __future__ import annotations

import dataclasses

import pytest

from pgsbench.masking import CARDS
from pgsbench.masking.base import Strategy
from pgsbench.masking.configure import configure
from pgsbench.masking.testing import StrategyContract


class _OfPgs(StrategyContract):
    name: str

    @pytest.fixture
    def strategy(self, fields: dict[str, object]) -> Strategy:
        return configure(self.name, fields)

    def at_ratio_zero(self, strategy: Strategy) -> Strategy:
        return dataclasses.replace(strategy, mask_ratio=0.0, max_ratio=None)  # type: ignore[type-var]


class TestNone(StrategyContract):
    @pytest.fixture
    def strategy(self) -> Strategy:
        return configure("none", {})


@pytest.mark.parametrize("ratio", [0.25, 0.5, 0.9])
class TestRandom(StrategyContract):
    @pytest.fixture
    def strategy(self, ratio: float) -> Strategy:
        return configure("random", {"mask_ratio": ratio})


class TestFlip(StrategyContract):
    @pytest.fixture
    def strategy(self) -> Strategy:
        return configure("flip", {})


@pytest.mark.parametrize("ratio", [0.5, 0.75])
class TestCentred(StrategyContract):
    @pytest.fixture
    def strategy(self, ratio: float) -> Strategy:
        return configure("centred", {"mask_ratio": ratio})


@pytest.mark.parametrize("ratio", [0.5, 0.75])
class TestResize(StrategyContract):
    exact_length = False  # whole rows and columns only

    @pytest.fixture
    def strategy(self, ratio: float) -> Strategy:
        return configure("resize", {"mask_ratio": ratio})


@pytest.mark.parametrize("ratio", [0.25, 0.5])
class TestTome(StrategyContract):
    exact_length = False  # all patches enter

    @pytest.fixture
    def strategy(self, ratio: float) -> Strategy:
        return configure("tome", {"mask_ratio": ratio})


@pytest.mark.parametrize("phase", ["random", "fixed"])
@pytest.mark.parametrize("ratio", [0.3, 0.5, 0.75])
class TestGrid(StrategyContract):
    exact_length = False

    @pytest.fixture
    def strategy(self, ratio: float, phase: str) -> Strategy:
        return configure("grid", {"mask_ratio": ratio, "phase": phase})


@pytest.mark.parametrize("ratio", [0.5, 0.75])
class TestOracle(StrategyContract):
    @pytest.fixture
    def strategy(self, ratio: float) -> Strategy:
        return configure("oracle", {"mask_ratio": ratio})


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"otn": False, "token_weight": 0.0},
        {"edge": "canny", "edge_penalty": 2.0},
        {"edge": "none", "tau": 0.1},
        {"neighbourhood": 1},
        {"neighbourhood": 2, "otn": False, "mask_ratio": 0.3, "max_ratio": 0.5},
        {"mask_ratio": 0.75},
        {"mask_ratio": 0.3, "max_ratio": 0.5},
    ],
    ids=str,
)
class TestPgs(_OfPgs):
    name = "pgs"


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"otn": False},
        {"edge": "canny", "edge_spread": 1, "edge_penalty": 2.0},
        {"edge": "none", "pattern_side": None},
        {"colour_weight": 0.5, "random_share": 0.25},
        {"colour_weight": 1.0, "otn": False, "token_weight": 0.0},
        {"neighbourhood": 1},
        {"mask_ratio": 0.75},
        {"mask_ratio": 0.3, "max_ratio": 0.5},
    ],
    ids=str,
)
class TestPgsMixed(_OfPgs):
    name = "pgs-mixed"


@pytest.mark.parametrize("fields", [{}, {"blocks": 3, "mask_ratio": 0.75, "max_aspect": 1.0}], ids=str)
class TestBlock(StrategyContract):
    @pytest.fixture
    def strategy(self, fields: dict[str, object]) -> Strategy:
        return configure("block", fields)


@pytest.mark.parametrize("fields", [{}, {"threshold": -1.0}, {"token_weight": 1.0, "hide": False}], ids=str)
class TestCluster(StrategyContract):
    @pytest.fixture
    def strategy(self, fields: dict[str, object]) -> Strategy:
        return configure("cluster", fields)


@pytest.mark.parametrize("fields", [{}, {"block_side": 2}, {"block_side": 20, "mask_ratio": 0.75}], ids=str)
class TestAttentive(StrategyContract):
    @pytest.fixture
    def strategy(self, fields: dict[str, object]) -> Strategy:
        return configure("attentive", fields)


@pytest.mark.parametrize("fields", [{}, {"otn": False, "mask_ratio": 0.3}, {"edge": False}], ids=str)
class TestPgsReleased(StrategyContract):
    exact_length = False
    images_are_independent = False

    @pytest.fixture
    def strategy(self, fields: dict[str, object]) -> Strategy:
        return configure("pgs-released", fields)


def test_every_builtin_is_tested_here() -> None:
    tested = {name for name in CARDS if f"Test{name.title().replace('-', '')}" in globals()}
    assert tested == set(CARDS)
