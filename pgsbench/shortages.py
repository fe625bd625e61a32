"""What is said where memory runs out: torch, Python and numpy each have words of their own for it."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager

#: Of a RuntimeError, as torch has a class of its own for GPUs alone.
_SIGNS = ("out of memory", "not enough memory", "can't allocate memory", "ALLOC_FAILED")
_MAX_LETTERS = 240


@contextmanager
def memory_told(tell: Callable[[str], Exception]) -> Iterator[None]:
    """Raise what `tell` makes of the text of an error, where memory runs out in the block.

    The variables of the functions that were called in the block are let go, as they hold the memory that is
    missing: whoever catches the error may go on with something smaller.
    """
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if not ran_out(error):
            raise
        traceback.clear_frames(error.__traceback__)
        raise tell(_in_short(error)) from None


def ran_out(error: BaseException) -> bool:
    """Tell whether an error says that there is not enough memory."""
    return isinstance(error, MemoryError) or any(sign in str(error) for sign in _SIGNS)


def _in_short(error: BaseException) -> str:
    text = str(error).strip().partition("\n")[0]
    _, found, numbers = text.rpartition("] ")  # torch begins with a place in its own source
    return (numbers if found else text)[:_MAX_LETTERS] or type(error).__name__
