"""What a strategy of somebody's own gets wrong is named at its first answer."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Any, ClassVar

import pytest
import torch
from torch import Tensor

from pgsbench.errors import PluginError
from pgsbench.masking.base import Need, PatchView, Selection, Strategy
from pgsbench.masking.noise import Draws
from pgsbench.masking.selection_check import select_checked
from pgsbench.masking.testing import draws_for, make_view


@dataclass(frozen=True)
class Answers:
    """Answers what it is given."""

    answer: Callable[[PatchView], Any]
    needs: ClassVar[frozenset[Need]] = frozenset({"attention"})

    @property
    def mask_ratio(self) -> float:
        return 0.5

    def select(self, view: PatchView, *, draws: Draws) -> Selection:
        answer: Selection = self.answer(view)
        return answer


def choose(strategy: Strategy, view: PatchView | None = None) -> Selection:
    view = view or make_view()
    return select_checked(strategy, view, draws=draws_for(view))


def rows(*indices: int) -> Tensor:
    return torch.tensor(indices).repeat(3, 1)


@pytest.mark.parametrize(
    ("answer", "rule"),
    [
        (None, "must return a Selection, not NoneType"),
        (Selection(rows(0, 1).float()), r"`keep` must be an int64 tensor \(3, k\) on cpu"),
        (Selection([[0, 1]] * 3), r"`keep` must be an int64 tensor"),  # type: ignore[arg-type]
        (Selection(rows(0, 1)[:, :0]), "indices from 0 to 63"),
        (Selection(rows(0, 64)), "indices from 0 to 63"),
        (Selection(rows(1, 1)), "ascend, none twice"),
        (Selection(rows(1, 2), rows(1, 0)), "`visible` must be a bool tensor"),
        (Selection(rows(1, 2), torch.ones(3, 1).bool()), "of the shape of `keep`"),
        (Selection(rows(1, 2), torch.zeros(3, 2).bool()), "a patch of each picture"),
        (Selection(rows(1, 2), into=rows(*[0] * 63)), "`into` must send each of 64 patches"),
        (Selection(rows(1, 2), into=rows(*[0] * 64)), "a shown one to its own"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_malformed_selection_is_named_with_its_rule(answer: Any, rule: str) -> None:
    with pytest.raises(PluginError, match=rule) as raised:
        choose(Answers(lambda _: answer))
    assert raised.value.where == "strategy Answers"
    assert "StrategyContract" in raised.value.way_out


def test_a_strategy_gets_what_it_needs_and_no_more() -> None:
    seen: list[PatchView] = []
    choose(Answers(lambda view: seen.append(view) or Selection(rows(0))))
    given = {field.name for field in fields(PatchView) if getattr(seen[0], field.name) is not None}
    assert given == {"grid", "patch_size", "batch_size", "device", "progress", "attention"}
    limited = make_view().limited_to(frozenset({"tokens"}))
    assert limited.tokens is not None
    assert limited.position is not None
    assert limited.images is None


def test_reading_what_is_not_declared_is_explained() -> None:
    with pytest.raises(PluginError, match="what `needs` does not name") as raised:
        choose(Answers(lambda view: view.images.mean()))  # type: ignore[union-attr]
    assert raised.value.way_out == "add to `needs` what it looks at, of images, tokens, objects"


def test_another_bug_of_a_strategy_keeps_its_traceback() -> None:
    with pytest.raises(AttributeError, match="no_such"):
        choose(Answers(lambda view: view.no_such))  # type: ignore[attr-defined]
