"""One thing that was looked at, and what to do about it."""

from __future__ import annotations

from dataclasses import dataclass

OK, WARNING, PROBLEM = "ok", "warning", "problem"


@dataclass(frozen=True)
class Check:
    """What was looked at, and what to do about it.

    Attributes:
        what: What was looked at.
        found: What is there.
        state: ``ok``, ``warning`` (something is slow or missing) or ``problem`` (something will fail).
        remedy: What to do about it; empty where all is well.
    """

    what: str
    found: str
    state: str = OK
    remedy: str = ""


def worse_if(condition: object, state: str) -> str:
    """Return the state where the condition holds, else ``ok``."""
    return state if condition else OK
