"""``pgsbench masks diagnose``: what masks do to real batches, before any training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from itertools import combinations, islice
from pathlib import Path
from typing import NamedTuple

import pandas as pd
import torch
from torch import Tensor

from pgsbench.data.shards import open_pairs, open_reader
from pgsbench.data.store import Progress
from pgsbench.disk.whole_files import unwritable
from pgsbench.errors import ConfigError
from pgsbench.inspection.inspected import draw, first_view, inspected, usable
from pgsbench.masking.base import PatchView, Strategy
from pgsbench.masking.coverage import objects_kept, overlap, top_edges_kept
from pgsbench.models.clip import build
from pgsbench.reporting.columns import OBJECTS
from pgsbench.reporting.render import PERCENT, Format, Table

#: What is measured -> its column in the table.
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
_FORMATS = {"otn_residual": Format("{:.1e}")}

#: Numbers of a mask by name, in the order of the table; what is not known is left out.
Numbers = dict[str, float]


class Diagnosed(NamedTuple):
    """What was measured and written.

    Attributes:
        table: As it is printed.
        file: The same numbers, unrounded.
        is_study: Whether the masks are those of a study.
    """

    table: Table
    file: Path
    is_study: bool


def diagnose_masks(
    study_or_data: str,
    *,
    strategies: Sequence[str] | None = None,
    batches: int = 8,
    seeds: int = 2,
    model: str | None = None,
    to: Path | None = None,
    output: Path = Path(),
    progress: Progress = lambda *_: None,
) -> Diagnosed:
    """Measure what masks do to the first batches of a training, and write ``masks.csv``.

    Only the pictures of these batches are decoded, and only shards that decide them are looked into.

    Args:
        study_or_data: A study, a built-in data set, or webdataset shards.
        strategies: Names; None: a study's arms, and on data all but none, and but flip, which masks as
            random does.
        batches: Training batches to look at; their pictures are held in memory.
        seeds: Seeds of each mask, at least 2.
        model: Whose patches; None: the study's, scenes-vit for data.
        to: Folder of the file; None: ``reports/STUDY/masks`` below `output`, or ``masks-DATA``.
        output: The folder of ``reports/``.
        progress: Told how far it is.

    Raises:
        UserError: There is no such study, data or strategy, or nothing can be measured.
    """
    what = inspected(study_or_data, strategies)
    folder = output / "reports" / what.name / "masks" if what.is_study else Path(f"masks-{what.name}")
    folder = to or folder
    if reason := unwritable(folder):
        where = "--output" if what.is_study and not to else "--to"
        raise ConfigError(f"nothing can be written here: {reason}", where=where, value=str(folder))
    clip = build(model or what.model, seed=what.seed)
    pairs = open_pairs(what.data, progress=progress)
    look = partial(open_reader, image_size=clip.image_size, tokenize=clip.tokenize, progress=progress)
    reader = look(pairs, what.data, few=True)
    masks, notes = usable(what.strategies, has_objects=reader.has_objects)
    some = islice(reader.batches(seed=what.seed, batch_size=what.batch_size), batches)
    views = [first_view(clip, batch.images, batch.objects) for batch in some]
    found = diagnose(masks, views, num_seeds=seeds, progress=progress)
    rows, cols = views[0].grid
    setting = (
        f"{batches} batches of {what.batch_size} pictures, {rows} x {cols} patches, {seeds} seeds of each "
        "mask, at progress 0: pixels only, as at the beginning of a training."
    )
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / "masks.csv"
    pd.DataFrame([{"strategy": name, **numbers} for name, numbers in found.items()]).to_csv(file, index=False)
    return Diagnosed(diagnosis_table(found, what.name, [setting, *notes]), file, what.is_study)


def diagnose(
    strategies: Mapping[str, Strategy],
    views: Sequence[PatchView],
    *,
    num_seeds: int,
    progress: Progress = lambda *_: None,
) -> dict[str, Numbers]:
    """Draw masks under several seeds and return what they do, by strategy.

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
    shares = [view.objects for view in views if view.objects is not None]
    objects = torch.cat(shares) if shares else None
    found = {}
    for name, of_seeds in shown.items():
        masks = torch.stack([torch.cat(batches) for batches in of_seeds])
        found[name] = _numbers(masks, objects) | {"top_edges": float(torch.cat(top_edges[name]).mean())}
        if residuals[name]:
            found[name]["otn_residual"] = max(residuals[name])
    return found


def _numbers(masks: Tensor, objects: Tensor | None) -> Numbers:
    """Return what can be said of masks.

    Args:
        masks: (seeds, pictures, n) bool, which patches have an influence.
        objects: (pictures, n) share of each patch that shows an object.
    """
    ratio = 1.0 - masks.double().mean(dim=2).flatten()
    low, high = (float(ratio.quantile(share)) for share in (0.05, 0.95))
    numbers = {"effective_ratio": float(ratio.mean()), "ratio_p5": low, "ratio_p95": high}
    if objects is not None:
        kept = objects_kept(objects.repeat(len(masks), 1), masks.flatten(0, 1))
        numbers |= {name: float(value) for name, value in kept.items()}
    pairs = [overlap(one, other).mean() for one, other in combinations(masks, 2)]
    return numbers | {"seed_iou": float(torch.stack(pairs).mean())}


def diagnosis_table(found: Mapping[str, Numbers], name: str, notes: Sequence[str] = ()) -> Table:
    """Lay out what masks do: one row for each strategy."""
    known = [key for key in _COLUMNS if any(key in numbers for numbers in found.values())]
    rows = [[strategy, *(numbers.get(key, "") for key in known)] for strategy, numbers in found.items()]
    notes = [
        *notes,
        "Percent. Effective ratio: share of patches without influence, its mean and how it varies from "
        "picture to picture. Top edges: shown share of each picture's tenth of patches with the strongest "
        "edges. Mask overlap: intersection over union of two seeds; 100 is always the same mask.",
    ]
    if "objects_kept" in known:
        notes.append(f"Object shown: share of object pixels. {OBJECTS}")
    if "otn_residual" in known:
        notes.append("OTN residual: largest deviation of a row sum from 1, over all pictures; no percent.")
    columns = [(_COLUMNS[key], _FORMATS.get(key, PERCENT)) for key in known]
    return Table(f"Masks on {name}", ["strategy", *columns], rows, notes)
