"""Functions that `torch.compile` calls as they are."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import ParamSpec, TypeVar

import torch

P = ParamSpec("P")
R = TypeVar("R")


def uncompiled(function: Callable[P, R]) -> Callable[P, R]:
    """Keep a function out of compiled graphs, as `torch.compiler.disable` does at its first call.

    That one imports the compiler when a module is read, which takes longer than all else in it; most programs
    compile nothing.
    """
    disabled: Callable[P, R] | None = None

    @wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        nonlocal disabled
        if disabled is None:
            disabled = torch.compiler.disable(function)  # type: ignore[no-untyped-call]  # torch's
        return disabled(*args, **kwargs)

    return call
