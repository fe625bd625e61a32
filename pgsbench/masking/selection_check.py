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
    if problem := _problem(selection, view):
        raise PluginError(problem, where=place, way_out=_WAY_OUT)
    return selection


def text_select_checked(strategy: TextStrategy, view: TextView, *, draws: Draws) -> Tensor:
    """Let a text strategy choose, and check what it answers; see `select_checked`."""
    with _checking(strategy, get_args(TextNeed)) as place:
        stays = strategy.select(view, draws=draws)
    if problem := broken_rule(stays, view, strategy.keep):
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


def _problem(selection: object, view: PatchView) -> str:
    """Return which rule of `Selection` is broken; empty where none is."""
    if not isinstance(selection, Selection):
        return f"`select` must return a Selection, not {type(selection).__name__}"
    keep, visible, n = selection.keep, selection.visible, view.num_patches
    if not isinstance(keep, Tensor) or keep.dtype != torch.int64 or keep.device != view.device:
        return f"`keep` must be an int64 tensor on {view.device}, not {_kind(keep)}"
    if keep.ndim not in (2, 3) or keep.shape[-2] != view.batch_size or not 1 <= keep.shape[-1] <= n:
        return f"`keep` must be ({view.batch_size}, k) with k from 1 to {n}, not {tuple(keep.shape)}"
    low, high = int(keep.min()), int(keep.max())
    if low < 0 or high >= n:
        return f"`keep` must hold indices from 0 to {n - 1}, not from {low} to {high}"
    if bool((keep.diff(dim=-1) <= 0).any()):
        return "the indices in each row of `keep` must ascend, none twice"
    return _problem_of_visible(visible, keep) or _problem_of_into(selection, n)


def _problem_of_visible(visible: object, keep: Tensor) -> str:
    if visible is None:
        return ""
    if not isinstance(visible, Tensor) or visible.dtype != torch.bool or visible.device != keep.device:
        return f"`visible` must be a bool tensor on {keep.device}, not {_kind(visible)}"
    if visible.shape != keep.shape:
        return f"`visible` must have the shape of `keep`, {tuple(keep.shape)}, not {tuple(visible.shape)}"
    if not bool(visible.any(dim=-1).all()):
        return "`visible` must leave at least one patch of each picture"
    return ""


def _problem_of_into(selection: Selection, n: int) -> str:
    keep, into = selection.keep, selection.into
    if into is None:
        return ""
    shape = (*keep.shape[:-1], n)
    if not isinstance(into, Tensor) or into.dtype != torch.int64 or into.shape != shape:
        return f"`into` must be an int64 tensor of shape {shape}, not {_kind(into)}"
    if int(into.min()) < -1 or int(into.max()) >= keep.shape[-1]:
        return f"`into` must hold columns of `keep`, from 0 to {keep.shape[-1] - 1}, or -1"
    own = into.gather(-1, keep) == torch.arange(keep.shape[-1], device=keep.device)
    shown = own if selection.visible is None else own | ~selection.visible
    return "" if bool(shown.all()) else "`into` must send each shown patch to its own column of `keep`"


def _kind(value: object) -> str:
    if isinstance(value, Tensor):
        return f"{str(value.dtype).removeprefix('torch.')} on {value.device}"
    return type(value).__name__


def broken_rule(stays: object, view: TextView, keep: int | None) -> str:
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
