"""A text strategy's first answer is checked, as that of a strategy for images is."""

from __future__ import annotations

import torch
from torch import Tensor

from pgsbench.errors import PluginError
from pgsbench.masking.noise import Draws
from pgsbench.masking.text.base import TextStrategy, TextView

_WAY_OUT = "test it with pgsbench.masking.text.testing.TextStrategyContract, see docs/add-a-strategy.md"


def select_checked(strategy: TextStrategy, view: TextView, *, draws: Draws) -> Tensor:
    """Let a text strategy choose, and check what it answers.

    Raises:
        PluginError: The answer breaks a rule, or the strategy looks at what it does not need.
    """
    place = f"text strategy {type(strategy).__name__}"
    try:
        stays = strategy.select(view, draws=draws)
    except (AttributeError, TypeError) as error:
        if "NoneType" not in str(error):
            raise  # a bug of the strategy's own, whose traceback tells where
        raise PluginError(
            f"`select` seems to read what `needs` does not name, which is None: {error}",
            where=place,
            way_out="add to `needs` what it looks at: 'words', 'counts'",
        ) from error
    if problem := broken_rule(stays, view, strategy.keep):
        raise PluginError(problem, where=place, way_out=_WAY_OUT)
    return stays


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
