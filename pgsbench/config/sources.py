"""Names of training data: a built-in data set with the knobs of its recipe is ``scenes?clutter=0.5``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from pgsbench.errors import DataError


def join(name: str, knobs: Mapping[str, float]) -> str:
    """Return the name of a data set with knobs: ``scenes?clutter=0.5&context=0``."""
    said = "&".join(f"{knob}={float(value)!r}".removesuffix(".0") for knob, value in sorted(knobs.items()))
    return f"{name}?{said}" if said else name


def typed(name: str, knobs: Sequence[str]) -> str:
    """Return the name of a data set with knobs as somebody types them, ``["clutter=0.5", "context=0"]``."""
    return f"{name}?{'&'.join(knobs)}" if knobs else name


def split(source: str) -> tuple[str, dict[str, float]]:
    """Return the name and the knobs that `join` joined.

    Raises:
        DataError: A knob is set to no number.
    """
    name, _, said = source.partition("?")
    knobs = {}
    for part in said.split("&") if said else ():
        knob, _, value = part.partition("=")
        try:
            knobs[knob] = float(value)
        except ValueError:
            raise DataError("a knob is set to a number", where=knob or source, value=value) from None
    return name, knobs
