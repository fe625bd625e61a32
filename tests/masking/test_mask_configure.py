"""From names and fields to strategies: every mistake at once, in words."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest

from pgsbench.errors import ConfigError, PluginError
from pgsbench.masking import STRATEGIES
from pgsbench.masking.configure import configure, fields_of
from pgsbench.masking.grid import Grid
from pgsbench.masking.pgs import Pgs
from pgsbench.masking.pgs_mixed import PgsMixed
from pgsbench.masking.random import Random

SPIRAL = """
from __future__ import annotations
from dataclasses import dataclass
from typing import ClassVar
import torch
from pgsbench.masking.base import Need, PatchView, Selection, keep_all

@dataclass(frozen=True)
class Spiral:
    turns: int
    mask_ratio: float = 0.5
    centre: tuple[float, float] = (0.5, 0.5)
    needs: ClassVar[frozenset[Need]] = frozenset()

    def select(self, view: PatchView, *, draws: Draws) -> Selection:
        return keep_all(view)

spiral = Spiral(1)
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "spiral.py").write_text(SPIRAL)
    return tmp_path


def test_fields_are_set_and_defaults_kept() -> None:
    assert configure("pgs", {"mask_ratio": 0.3, "max_ratio": 0.5, "edge": "none"}) == Pgs(
        0.3, max_ratio=0.5, edge="none"
    )
    assert configure("random", {"mask_ratio": 0}) == Random(0.0)
    assert isinstance(configure("random", {"mask_ratio": 0}).mask_ratio, float)


def test_fields_of_lists_every_field_and_leads_back() -> None:
    strategy = PgsMixed(0.4, pattern_side=3)
    fields = fields_of(strategy)
    assert set(fields) == set(PgsMixed.__dataclass_fields__) - {"needs"}
    assert configure("pgs-mixed", fields) == strategy
    assert fields_of(Grid()) == {"mask_ratio": 0.5, "phase": "random"}


def test_all_mistakes_are_told_at_once_with_their_place() -> None:
    with pytest.raises(ConfigError) as raised:
        configure(
            "pgs-mixed",
            {"mask_ratoi": 0.5, "tau": -1.0, "otn": 1, "edge": "prewitt", "rounds": 1.5},
            where="arms.mine.strategy",
        )
    text = str(raised.value)
    assert "5 problems" in text
    assert "arms.mine.strategy.tau: tau must be at least 0.01, not -1.0" in text
    assert "arms.mine.strategy.mask_ratoi: unknown field of strategy 'pgs-mixed'" in text
    assert "did you mean 'mask_ratio'?" in text
    assert "arms.mine.strategy.otn: input should be a valid boolean (got 1)" in text
    assert "arms.mine.strategy.edge: input should be 'sobel' or 'none' (got 'prewitt')" in text
    assert "arms.mine.strategy.rounds: input should be a valid integer" in text


NUMBERS = [
    (name, field)
    for name in STRATEGIES.builtin
    for field, value in fields_of(configure(name, {})).items()
    if isinstance(value, float) or field == "max_ratio"
]


@pytest.mark.parametrize("value", [float("inf"), float("nan")])
@pytest.mark.parametrize(("name", "field"), NUMBERS)
def test_a_number_has_to_be_finite(name: str, field: str, value: float) -> None:
    with pytest.raises(ConfigError, match=rf"^strategy.{field}: must be a finite number"):
        configure(name, {field: value})
    with pytest.raises(ValueError, match=rf"^{field} must be .*not {value}"):
        type(configure(name, {}))(**{field: value})


def test_a_rule_between_two_fields_blames_neither_wrongly() -> None:
    with pytest.raises(ConfigError, match="max_ratio must be at least mask_ratio"):
        configure("pgs", {"mask_ratio": 0.5, "max_ratio": 0.3})
    # 0.3 is below the default of the other field, which is the only one that is wrong
    with pytest.raises(ConfigError) as raised:
        configure("pgs", {"mask_ratio": 1.5, "max_ratio": 0.3})
    assert "at least mask_ratio" not in str(raised.value)


@pytest.mark.parametrize(
    ("value", "rule"),
    [
        ("0.5", "valid number"),
        (None, "valid number"),
        ({1, 2}, "plain value"),
        ([], "number"),
        (math.nan, "finite"),
    ],
)
def test_wrong_types(value: Any, rule: str) -> None:
    with pytest.raises(ConfigError, match=rule):
        configure("random", {"mask_ratio": value})


def test_an_unknown_name_says_where_and_what_is_near() -> None:
    with pytest.raises(PluginError, match=r"arms.a: unknown strategy .*'pgss'") as raised:
        configure("pgss", {}, where="arms.a")
    assert "did you mean 'pgs'?" in str(raised.value)


def test_a_class_in_a_file(folder: Path) -> None:
    strategy = configure("spiral.py:Spiral", {"turns": 3, "centre": [0.1, 1]}, relative_to=folder)
    assert fields_of(strategy) == {"turns": 3, "mask_ratio": 0.5, "centre": [0.1, 1.0]}
    with pytest.raises(ConfigError, match=r"strategy.turns: strategy 'spiral.py:Spiral' needs this field"):
        configure("spiral.py:Spiral", {}, relative_to=folder)


@pytest.mark.parametrize(
    ("name", "old", "new"),
    [
        ("Spiral", "frozen=True", "frozen=False"),
        ("Spiral", "frozenset()", 'frozenset({"pixels"})'),
        ("Spiral", "frozenset()", 'frozenset({"attention"})'),  # without `ema_momentum`
        ("Spiral", "*, draws: Draws", "draws: Draws, more: int"),
        ("Spiral", "mask_ratio", "ratio"),
        ("spiral", "", ""),
    ],
)
def test_what_is_no_strategy_is_refused(tmp_path: Path, name: str, old: str, new: str) -> None:
    (tmp_path / "odd.py").write_text(SPIRAL.replace(old, new))
    with pytest.raises(PluginError, match=r"this is no strategy: a class with `@dataclass\(frozen=True\)`"):
        configure(f"odd.py:{name}", {"turns": 1}, relative_to=tmp_path)


def test_a_bug_in_post_init_is_one_of_the_plugin(tmp_path: Path) -> None:
    (tmp_path / "odd.py").write_text(
        SPIRAL
        + "\n@dataclass(frozen=True)\nclass Odd(Spiral):\n    def __post_init__(self):\n        len(3)\n"
    )
    with pytest.raises(PluginError, match=r"raises when it is made: TypeError.*has no len.*odd.py:Odd"):
        configure("odd.py:Odd", {"turns": 1}, relative_to=tmp_path)
