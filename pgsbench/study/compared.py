"""What may be compared: a list of baselines that has names, and a candidate that is none of them."""

from __future__ import annotations

from collections.abc import Sequence

from pgsbench.config.schema import arm_name
from pgsbench.errors import ConfigError


def check_comparison(candidate: str, baselines: Sequence[str]) -> None:
    """Check that there is something to compare.

    Raises:
        ConfigError: There is no baseline, one is the candidate or there twice, or they are one text.
    """
    check_baselines(baselines)
    arms = [arm_name(name) for name in baselines]
    if arm_name(candidate) in arms:
        raise ConfigError(
            "an arm cannot be compared with itself",
            where="baselines",
            value=candidate,
            way_out="name other baselines, or another candidate",
        )
    _check_once(arms)


def check_baselines(baselines: Sequence[str]) -> None:
    """Check that names of baselines are a list with names in it, each once.

    Raises:
        ConfigError: They are one text, or none, or one is there twice.
    """
    check_listed(baselines, "baselines")
    if not baselines:
        raise ConfigError("a comparison needs a baseline", where="baselines", way_out="flip, for example")
    _check_once(baselines)


def check_listed(names: Sequence[str], where: str) -> None:
    """Check that names are no single text, whose letters would be taken for names.

    Raises:
        ConfigError: They are.
    """
    if isinstance(names, str):
        raise ConfigError("a list of names is needed", where=where, value=names, way_out=f"[{names!r}]")


def _check_once(baselines: Sequence[str]) -> None:
    # A second time it would count as a comparison of its own: Holm's correction would be too strict.
    twice = [name for number, name in enumerate(baselines) if name in baselines[:number]]
    if twice:
        raise ConfigError(
            "a baseline is named twice", where="baselines", value=twice[0], way_out="name it once"
        )
