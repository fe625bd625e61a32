"""The threshold at which a mask hides a wanted share of real pictures, found without training."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import replace

from pgsbench.errors import StudyError
from pgsbench.inspection.first_masks import draw
from pgsbench.masking.base import PatchView, Strategy
from pgsbench.reporting.render import PERCENT, Format, Table

#: Thresholds are looked for in [-1, 1], in steps of 1 / `_STEPS`.
_STEPS = 10_000


def find_thresholds(
    strategies: Mapping[str, Strategy], views: Sequence[PatchView], *, target: float, num_seeds: int
) -> dict[str, tuple[Strategy, float]]:
    """Find the lowest threshold at which the effective ratio is no more than `target`.

    By bisection in [-1, 1], where the correlations of `cluster` lie, and the standard deviations within
    which the ratio of `pgs` changes. The masks are those that `pgsbench.inspection.diagnosis.diagnose`
    measures on the same pictures.

    Args:
        strategies: Name -> strategy that needs no training to be seen.
        views: The batches.
        target: Wanted share of the patches without influence, dropped or hidden, mean over pictures.
        num_seeds: Seeds 0, 1, ... of the masks.

    Returns:
        By name the strategy with that threshold and the ratio that comes of it, where a threshold reaches it.

    Raises:
        StudyError: No strategy has such a threshold.
    """
    found = {}
    for name, strategy in strategies.items():
        if not hasattr(strategy, "threshold"):
            continue

        def masked(step: int, strategy: Strategy = strategy) -> tuple[Strategy, float]:
            changed: Strategy = replace(strategy, threshold=step / _STEPS)  # type: ignore[type-var]  # a dataclass
            return changed, _ratio(changed, views, num_seeds)

        steps = range(-_STEPS, _STEPS + 1)
        try:
            most, least = (masked(step)[1] for step in (steps[0], steps[-1]))
        except ValueError:  # somebody else's strategy, whose threshold means something else
            continue
        if least < most and least <= target <= most:
            found[name] = masked(steps[bisect_left(steps, -target, key=lambda step: -masked(step)[1])])
    if not found:
        raise StudyError(
            "no strategy has a threshold that gives this ratio",
            where="--find-threshold",
            value=target,
            way_out="name one whose ratio differs from picture to picture (cluster, pgs with a max_ratio), "
            "with a mask_ratio below it",
        )
    return found


def _ratio(strategy: Strategy, views: Sequence[PatchView], num_seeds: int) -> float:
    hidden = pictures = 0.0
    for step, view in enumerate(views):
        for seed in range(num_seeds):
            ratio = draw(strategy, view, seed=seed, step=step).effective_ratio(view.num_patches)
            hidden, pictures = hidden + float(ratio) * view.batch_size, pictures + view.batch_size
    return hidden / pictures


def thresholds_table(found: Mapping[str, tuple[Strategy, float]], target: float) -> Table:
    """Lay out what `find_thresholds` has found."""
    return Table(
        f"Thresholds for an effective ratio of {100 * target:g} %",
        ["strategy", ("threshold", Format("{:.4f}")), ("effective ratio", PERCENT)],
        [[name, getattr(strategy, "threshold"), ratio] for name, (strategy, ratio) in found.items()],  # noqa: B009
        ["Those that are missing have no threshold, or none that gives this ratio."],
    )
