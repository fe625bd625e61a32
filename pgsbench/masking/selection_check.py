"""A strategy's first answer is checked: a wrong one would train on, or fail far from its cause."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import get_args

import torch
from torch import Tensor

from pgsbench.errors import PluginError
from pgsbench.masking.base import Need, PatchView, Selection, Strategy
from pgsbench.masking.noise import Draws
from pgsbench.masking.text.base import TextNeed, TextStrategy, TextView

_WAY_OUT = "test it with StrategyContract or TextStrategyContract, see docs/add-a-strategy.md"


def select_checked(strategy: Strategy, view: PatchView, *, draws: Draws) -> Selection:
    """Let a strategy choose from what it `needs` alone, and check what it answers.

    The check waits for a GPU, so a training makes it once.

    Raises:
        PluginError: The selection is malformed, or the strategy looks at what it does not need.
    """
    limited = view.limited_to(strategy.needs)
    with _checking(strategy, get_args(Need)) as place:
        selection = strategy.select(limited, draws=draws)
    if problem := broken_rule(selection, view):
        raise PluginError(problem, where=place, way_out=_WAY_OUT)
    return selection


def text_select_checked(strategy: TextStrategy, view: TextView, *, draws: Draws) -> Tensor:
    """Let a text strategy choose, and check what it answers; see `select_checked`."""
    with _checking(strategy, get_args(TextNeed)) as place:
        stays = strategy.select(view, draws=draws)
    if problem := broken_text_rule(stays, view, strategy.keep):
        raise PluginError(problem, where=place, way_out=_WAY_OUT)
    return stays


@contextmanager
def _checking(strategy: Strategy | TextStrategy, needs_known: Iterable[str]) -> Iterator[str]:
    place = f"strategy {type(strategy).__name__}"
    try:
        yield place
    except (AttributeError, TypeError) as error:
        if "NoneType" not in str(error):
            raise  # a bug of the strategy's own, whose traceback tells where
        undeclared = [need for need in needs_known if need not in strategy.needs]
        raise PluginError(
            f"`select` seems to read what `needs` does not name, which is None: {error}",
            where=place,
            way_out=f"add to `needs` what it looks at, of {', '.join(undeclared)}",
        ) from error


def broken_rule(selection: object, view: PatchView) -> str:
    """Return which rule of `Selection` an answer breaks; empty where it breaks none."""
    if not isinstance(selection, Selection):
        return f"`select` must return a Selection, not {type(selection).__name__}"
    keep, visible, into = selection.keep, selection.visible, selection.into
    b, n, device = view.batch_size, view.num_patches, view.device
    if not _is(keep, torch.int64, device) or keep.ndim not in (2, 3) or keep.shape[-2] != b:
        return f"`keep` must be an int64 tensor ({b}, k) on {device}"
    k = keep.shape[-1]
    if not 1 <= k <= n or int(keep.min()) < 0 or int(keep.max()) >= n or bool((keep.diff(dim=-1) <= 0).any()):
        return f"each row of `keep` must hold indices from 0 to {n - 1}, one or more, that ascend, none twice"
    if visible is not None and (
        not _is(visible, torch.bool, device)
        or visible.shape != keep.shape
        or not bool(visible.any(dim=-1).all())
    ):
        return "`visible` must be a bool tensor of the shape of `keep` that leaves a patch of each picture"
    if into is None:
        return ""
    rule = f"`into` must send each of {n} patches to a column of `keep`, a shown one to its own, or to -1"
    if not _is(into, torch.int64, device) or into.shape != (*keep.shape[:-1], n):
        return rule
    if int(into.min()) < -1 or int(into.max()) >= k:
        return rule
    own = into.gather(-1, keep) == torch.arange(k, device=device)
    shown = own if visible is None else own | ~visible
    return "" if bool(shown.all()) else rule


def _is(value: object, dtype: torch.dtype, device: torch.device) -> bool:
    return isinstance(value, Tensor) and value.dtype == dtype and value.device == device


def broken_text_rule(stays: object, view: TextView, keep: int | None) -> str:
    """Return which rule an answer breaks; empty where it breaks none."""
    if not isinstance(stays, Tensor) or stays.dtype != torch.bool or stays.shape != view.ids.shape:
        return f"`select` must return a bool tensor of the shape {view.shape}"
    if not bool(stays[view.marks].all()):
        return "the marks of start and end must stay"
    if bool(stays[~view.tokens].any()):
        return "padding must not stay"
    fits = view.lengths <= view.shape[1] if keep is None else view.lengths <= keep
    if not torch.equal(stays[fits], view.tokens[fits]):
        return "a caption that fits into the budget must stay whole"
    if keep is not None and int(stays.sum(dim=1).max()) > keep:
        return f"at most `keep` tokens may stay, here {keep}, not {int(stays.sum(dim=1).max())}"
    if not bool((stays & view.between).any(dim=1)[view.lengths > 2].all()):
        return "at least one token between the marks must stay"
    return ""
