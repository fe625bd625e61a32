"""What masks do to real batches, before any training: ratio, objects, edges, place, agreement.

Masks are drawn as training draws them at its beginning, when only pixels count (progress 0): strategies
that compare tokens, too, get none. So no image tower has to run, and an untrained one would add noise.
"""

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
from pgsbench.data.transforms import normalise
from pgsbench.errors import StudyError
from pgsbench.masking.base import PatchView, Selection, Strategy, view_of
from pgsbench.masking.checked import select_checked
from pgsbench.masking.measure import object_shares, objects_kept, overlap, top_edges_kept
from pgsbench.masking.pgs import Pgs, PgsStages
from pgsbench.models.clip import Clip
from pgsbench.models.masked_tower import step_seed
from pgsbench.models.tower_layout import layout_of
from pgsbench.reporting.render import Table

#: Key of `MaskFindings.values` -> its column in the table.
_COLUMNS = {
    "effective_ratio": "effective ratio",
    "ratio_p5": "5 %",
    "ratio_p95": "95 %",
    "top_edges": "top edges",
    "objects_kept": "object shown",
    "insides_kept": "insides",
    "outlines_kept": "outlines",
    "objects_nearly_gone": "nearly gone",
    "seed_iou": "mask overlap",
    "otn_residual": "OTN residual",
}


@dataclass(frozen=True)
class MaskFindings:
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
        findings: By strategy.
        agreement: (strategies, strategies) mean intersection over union of what two strategies show of a
            picture under different seeds; on the diagonal the same strategy under two seeds.
        notes: What was looked at, and which strategies were left out; one sentence each.
    """

    findings: dict[str, MaskFindings]
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
    findings = {}
    for index, (name, masks) in enumerate(by_seed.items()):
        values = _values(masks, objects, torch.cat(top_edges[name]))
        values["seed_iou"] = float(agreement[index, index])
        if residuals[name]:
            values["otn_residual"] = max(residuals[name])
        findings[name] = MaskFindings(
            1.0 - masks.double().mean(dim=2).flatten().numpy(),
            masks.double().mean(dim=(0, 1)).view(layout.grid).numpy(),
            values,
        )
    setting = (
        f"{num_batches} batches of {batch_size} pictures, {layout.grid[0]} x {layout.grid[1]} patches, "
        f"{num_seeds} seeds of each mask, at progress 0: pixels only, as at the beginning of a training."
    )
    return Diagnosis(findings, agreement, [setting, *notes])


def first_view(clip: Clip, images: Tensor, objects: Tensor | None) -> PatchView:
    """Return what strategies see of (b, 3, h, w) uint8 pictures at progress 0.

    Args:
        clip: The model whose patches are meant.
        images: Pictures at the model's size.
        objects: (b, h, w) object maps, or None where unknown.
    """
    patch_size = layout_of(clip.model).patch_size
    shares = None if objects is None else object_shares(objects, patch_size)
    return view_of(normalise(images, clip.mean, clip.std), patch_size, objects=shares)


def draw(strategy: Strategy, view: PatchView, *, seed: int, step: int) -> Selection:
    """Choose patches as training with this seed does at this step.

    Raises:
        PluginError: The strategy looks at what it does not need, or its answer is malformed.
    """
    with torch.no_grad():
        return select_checked(strategy, view, generator=_generator(seed, step))


def draw_stages(strategy: Pgs, view: PatchView, *, seed: int, step: int) -> PgsStages:
    """Return edge map, candidates and scores of pgs on the way to what `draw` chooses."""
    with torch.no_grad():
        return strategy.stages(view, generator=_generator(seed, step))


def _generator(seed: int, step: int) -> torch.Generator:
    return torch.Generator().manual_seed(step_seed(seed, step))


def table_of(diagnosis: Diagnosis, subject: str) -> Table:
    """Lay out the numbers of a diagnosis: one row for each strategy."""
    known = [key for key in _COLUMNS if any(key in each.values for each in diagnosis.findings.values())]
    rows = []
    for name, each in diagnosis.findings.items():
        cells = [_cell(key, each.values.get(key)) for key in known]
        rows.append([name, *cells])
    notes = [
        *diagnosis.notes,
        "Percent. Effective ratio: share of patches without influence, its mean and how it varies from "
        "picture to picture. Top edges: shown share of each picture's tenth of patches with the strongest "
        "edges. Mask overlap: intersection over union of two seeds; 100 is always the same mask.",
    ]
    if "objects_kept" in known:
        notes.append(
            "Object shown: share of object pixels. Insides and outlines: patches wholly and partly in an "
            "object. Nearly gone: pictures that show less than a tenth of their object."
        )
    if "otn_residual" in known:
        notes.append("OTN residual: largest deviation of a row sum from 1, over all pictures; no percent.")
    return Table(f"Masks on {subject}", ["strategy", *(_COLUMNS[key] for key in known)], rows, notes)


def agreement_table(diagnosis: Diagnosis) -> Table:
    """Lay out how much strategies agree."""
    names = list(diagnosis.findings)
    rows = [
        [name, *(f"{100 * value:.0f}" for value in row)]
        for name, row in zip(names, diagnosis.agreement, strict=True)
    ]
    notes = [
        "Intersection over union, percent, of the patches that two masks show under different seeds. Two "
        "independent halves agree by 33."
    ]
    return Table("Agreement", ["", *names], rows, notes)


def usable(strategies: Mapping[str, Strategy], *, has_objects: bool) -> tuple[dict[str, Strategy], list[str]]:
    """Return the strategies that need no training to be seen, and a sentence on each that is left out.

    Raises:
        StudyError: No strategy is left.
    """
    reasons = {}
    for name, strategy in strategies.items():
        if "attention" in strategy.needs:
            reasons[name] = "it needs the attention of a teacher"
        elif "objects" in strategy.needs and not has_objects:
            reasons[name] = "it needs object maps, which these data lack"
    left = {name: strategy for name, strategy in strategies.items() if name not in reasons}
    notes = [f"Left out: {name}; {reason}." for name, reason in reasons.items()]
    if not left:
        raise StudyError("no strategy can run on these data", way_out=" ".join(notes))
    return left, notes


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


def _cell(key: str, value: float | None) -> str:
    if value is None:
        return ""
    return f"{value:.1e}" if key == "otn_residual" else f"{100 * value:.1f}"
