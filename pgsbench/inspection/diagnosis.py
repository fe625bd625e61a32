"""What masks do to real batches, before any training: ratio, objects, edges, place, agreement.

And the threshold at which a mask hides a wanted share of them.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import permutations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pgsbench.data.store import Progress
from pgsbench.errors import StudyError
from pgsbench.inspection.first_masks import draw
from pgsbench.masking.base import PatchView, Strategy
from pgsbench.masking.coverage import objects_kept, overlap, top_edges_kept
from pgsbench.reporting.render import PERCENT, Format, Table

#: Thresholds are looked for in [-1, 1], in steps of 1 / `_STEPS`.
_STEPS = 10_000


@dataclass(frozen=True)
class MaskNumbers:
    """What one strategy does; p pictures under each of s seeds.

    Attributes:
        effective_ratio: (s * p,) share of the patches of each picture that have no influence.
        keep_rate: (rows, cols) how often each place of the grid has an influence.
        values: Numbers by name, in the order of a table; what is not known is left out.
    """

    effective_ratio: NDArray[np.float64]
    keep_rate: NDArray[np.float64]
    values: dict[str, float]


@dataclass(frozen=True)
class Diagnosis:
    """What masks do to the same pictures.

    Attributes:
        numbers: By strategy.
        agreement: (strategies, strategies) mean intersection over union of what two strategies show of a
            picture under different seeds; on the diagonal the same strategy under two seeds.
    """

    numbers: dict[str, MaskNumbers]
    agreement: NDArray[np.float64]


def diagnose(
    strategies: Mapping[str, Strategy],
    views: Sequence[PatchView],
    *,
    num_seeds: int,
    progress: Progress = lambda *_: None,
) -> Diagnosis:
    """Draw masks under several seeds and measure them.

    Args:
        strategies: Name -> strategy that needs no training to be seen.
        views: The batches, in the order of their training.
        num_seeds: Seeds 0, 1, ... of the masks, at least 2.
        progress: Told of every batch.

    Raises:
        PluginError: A strategy looks at what it does not need, or its answer is malformed.
    """
    shown: dict[str, list[list[Tensor]]] = {name: [[] for _ in range(num_seeds)] for name in strategies}
    top_edges: dict[str, list[Tensor]] = {name: [] for name in strategies}
    residuals: dict[str, list[float]] = {name: [] for name in strategies}
    for step, view in enumerate(views):
        assert view.images is not None
        for name, strategy in strategies.items():
            for seed in range(num_seeds):
                selection = draw(strategy, view, seed=seed, step=step)
                shown[name][seed].append(selection.shown(view.num_patches))
                top_edges[name].append(top_edges_kept(view.images, view.patch_size, shown[name][seed][-1]))
                if "otn_residual" in selection.diagnostics:
                    residuals[name].append(float(selection.diagnostics["otn_residual"]))
        progress("masking batches", step + 1, len(views))
    by_seed = {name: torch.stack([torch.cat(of_seed) for of_seed in every]) for name, every in shown.items()}
    agreement = np.array([[_agreement(a, b) for b in by_seed.values()] for a in by_seed.values()])
    shares = [view.objects for view in views if view.objects is not None]
    numbers = {}
    for index, (name, masks) in enumerate(by_seed.items()):
        values = _values(masks, torch.cat(shares) if shares else None, torch.cat(top_edges[name]))
        values["seed_iou"] = float(agreement[index, index])
        if residuals[name]:
            values["otn_residual"] = max(residuals[name])
        numbers[name] = MaskNumbers(
            1.0 - masks.double().mean(dim=2).flatten().numpy(),
            masks.double().mean(dim=(0, 1)).view(views[0].grid).numpy(),
            values,
        )
    return Diagnosis(numbers, agreement)


def _agreement(ours: Tensor, theirs: Tensor) -> float:
    # Under one seed strategies share their random numbers, and agree more than their rules do.
    pairs = permutations(range(len(ours)), 2)
    return float(torch.stack([overlap(ours[i], theirs[j]).mean() for i, j in pairs]).mean())


def _values(masks: Tensor, objects: Tensor | None, top_edges: Tensor) -> dict[str, float]:
    ratio = 1.0 - masks.double().mean(dim=2).flatten()
    low, high = (float(ratio.quantile(share)) for share in (0.05, 0.95))
    values = {"effective_ratio": float(ratio.mean()), "ratio_p5": low, "ratio_p95": high}
    values["top_edges"] = float(top_edges.mean())
    if objects is not None:
        kept = objects_kept(objects.repeat(len(masks), 1), masks.flatten(0, 1))
        values |= {name: float(value) for name, value in kept.items()}
    return values


def find_thresholds(
    strategies: Mapping[str, Strategy], views: Sequence[PatchView], *, target: float, num_seeds: int
) -> dict[str, tuple[Strategy, float]]:
    """Find the lowest threshold at which the effective ratio is no more than `target`.

    By bisection in [-1, 1], where the correlations of `cluster` lie, and the standard deviations within
    which the ratio of `pgs` changes. The masks are those that `diagnose`
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
