"""What may be compared: a list of baselines that has names, and a candidate that is none of them."""

from __future__ import annotations

from collections.abc import Sequence

from pgsbench.config.schema import arm_name
from pgsbench.errors import ConfigError


def check_comparison(candidate: str, baselines: Sequence[str]) -> None:
    """Check that there is something to compare.

    Raises:
        ConfigError: There is no baseline, one of them is the candidate, or they are one text.
    """
    check_baselines(baselines)
    if arm_name(candidate) in map(arm_name, baselines):
        raise ConfigError(
            "an arm cannot be compared with itself",
            where="baselines",
            value=candidate,
            way_out="name other baselines, or another candidate",
        )


def check_baselines(baselines: Sequence[str]) -> None:
    """Check that names of baselines are a list with names in it.

    Raises:
        ConfigError: They are one text, or none.
    """
    check_listed(baselines, "baselines")
    if not baselines:
        raise ConfigError("a comparison needs a baseline", where="baselines", way_out="flip, for example")


def check_listed(names: Sequence[str], where: str) -> None:
    """Check that names are no single text, whose letters would be taken for names.

    Raises:
        ConfigError: They are.
    """
    if isinstance(names, str):
        raise ConfigError("a list of names is needed", where=where, value=names, way_out=f"[{names!r}]")
