"""What masks do to real batches, before any training: ratio, objects, edges, place, agreement."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import permutations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pgsbench.data.samples import Reader
from pgsbench.data.store import Progress
from pgsbench.inspection.first_masks import draw, first_view, usable
from pgsbench.masking.base import Strategy
from pgsbench.masking.coverage import objects_kept, overlap, top_edges_kept
from pgsbench.models.clip import Clip
from pgsbench.models.tower_layout import layout_of


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
        notes: What was looked at, and which strategies were left out; one sentence each.
    """

    numbers: dict[str, MaskNumbers]
    agreement: NDArray[np.float64]
    notes: list[str] = field(default_factory=list)


def diagnose(
    clip: Clip,
    reader: Reader,
    strategies: Mapping[str, Strategy],
    *,
    batch_size: int,
    num_batches: int,
    num_seeds: int,
    data_seed: int = 0,
    progress: Progress = lambda *_: None,
) -> Diagnosis:
    """Draw the masks of the first batches under several seeds and measure them.

    Args:
        clip: The model whose patches are meant; its weights do not matter.
        reader: Source of the pictures.
        strategies: Name -> strategy. What needs objects that the data does not know, or attention, is
            left out.
        batch_size: Pictures in a batch, on which the ratio of some strategies depends.
        num_batches: Batches; the pictures are those that training with `data_seed` begins with.
        num_seeds: Seeds 0, 1, ... of the masks, at least 2.
        data_seed: Decides the batches.
        progress: Told of every batch.

    Raises:
        StudyError: No strategy is left.
        PluginError: A strategy looks at what it does not need, or its answer is malformed.
    """
    can_run, notes = usable(strategies, has_objects=reader.has_objects)
    layout = layout_of(clip.model)
    shown: dict[str, list[list[Tensor]]] = {name: [[] for _ in range(num_seeds)] for name in can_run}
    top_edges: dict[str, list[Tensor]] = {name: [] for name in can_run}
    residuals: dict[str, list[float]] = {name: [] for name in can_run}
    shares = []
    batches = reader.batches(seed=data_seed, batch_size=batch_size)
    for step in range(num_batches):
        batch = next(batches)
        view = first_view(clip, batch.images, batch.objects)
        assert view.images is not None
        if view.objects is not None:
            shares.append(view.objects)
        for name, strategy in can_run.items():
            for seed in range(num_seeds):
                selection = draw(strategy, view, seed=seed, step=step)
                shown[name][seed].append(selection.shown(view.num_patches))
                top_edges[name].append(top_edges_kept(view.images, view.patch_size, shown[name][seed][-1]))
                if "otn_residual" in selection.diagnostics:
                    residuals[name].append(float(selection.diagnostics["otn_residual"]))
        progress("masking batches", step + 1, num_batches)
    by_seed = {name: torch.stack([torch.cat(of_seed) for of_seed in every]) for name, every in shown.items()}
    agreement = np.array([[_agreement(a, b) for b in by_seed.values()] for a in by_seed.values()])
    objects = torch.cat(shares) if shares else None
    numbers = {}
    for index, (name, masks) in enumerate(by_seed.items()):
        values = _values(masks, objects, torch.cat(top_edges[name]))
        values["seed_iou"] = float(agreement[index, index])
        if residuals[name]:
            values["otn_residual"] = max(residuals[name])
        numbers[name] = MaskNumbers(
            1.0 - masks.double().mean(dim=2).flatten().numpy(),
            masks.double().mean(dim=(0, 1)).view(layout.grid).numpy(),
            values,
        )
    setting = (
        f"{num_batches} batches of {batch_size} pictures, {layout.grid[0]} x {layout.grid[1]} patches, "
        f"{num_seeds} seeds of each mask, at progress 0: pixels only, as at the beginning of a training."
    )
    return Diagnosis(numbers, agreement, [setting, *notes])


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
