"""What may be compared: a list of baselines that has names, and a candidate that is none of them."""

from __future__ import annotations

from collections.abc import Sequence

from pgsbench.config.schema import arm_name
from pgsbench.errors import ConfigError


def check_baselines(baselines: Sequence[str], candidate: str | None = None) -> None:
    """Check that there is something to compare.

    Raises:
        ConfigError: Baselines are one text, or none, or one is there twice, or is the candidate.
    """
    arms = baselines if isinstance(baselines, str) else [arm_name(name) for name in baselines]
    if isinstance(arms, str) or not arms or len(set(arms)) < len(arms):
        # Twice, one would count as two comparisons: Holm's correction would be too strict.
        rule, way_out = "a comparison needs a baseline, or a list of them, each once", "[flip], for example"
        raise ConfigError(rule, where="baselines", value=baselines or None, way_out=way_out)
    if candidate is not None and arm_name(candidate) in arms:
        rule, way_out = "an arm cannot be compared with itself", "name other baselines, or another candidate"
        raise ConfigError(rule, where="baselines", value=candidate, way_out=way_out)
