"""``pgsbench masks diagnose`` as a whole: measure masks on data, find thresholds, write files."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path

from pgsbench.data.shards import open_pairs, open_reader
from pgsbench.data.store import Progress
from pgsbench.disk.whole_files import unwritable
from pgsbench.errors import ConfigError
from pgsbench.inspection.diagnosis import Diagnosis, diagnose, find_thresholds, thresholds_table
from pgsbench.inspection.diagnosis_files import write
from pgsbench.inspection.first_masks import first_view, usable
from pgsbench.inspection.inspected import inspected
from pgsbench.models.clip import build
from pgsbench.reporting.columns import OBJECTS
from pgsbench.reporting.render import PERCENT, Format, Table

#: Key of `MaskNumbers.values` -> its column in the table.
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


@dataclass(frozen=True)
class DiagnosisReport:
    """What was measured and written.

    Attributes:
        tables: As they are printed: masks, agreement and, where they were asked for, thresholds.
        files: What was written.
        is_study: Whether the masks are those of a study.
    """

    tables: list[Table]
    files: list[Path]
    is_study: bool


def diagnose_masks(
    study_or_data: str,
    *,
    strategies: Sequence[str] | None = None,
    batches: int = 8,
    seeds: int = 2,
    find_threshold: float | None = None,
    model: str | None = None,
    to: Path | None = None,
    output: Path = Path(),
    progress: Progress = lambda *_: None,
) -> DiagnosisReport:
    """Measure what masks do to the first batches of a training, and write tables and figure.

    Only the pictures of these batches are decoded, and only shards that decide them are looked into.

    Args:
        study_or_data: A study, a built-in data set, or webdataset shards.
        strategies: Names; None: a study's arms, and on data all but none, and but flip, which masks as
            random does.
        batches: Training batches to look at; their pictures are held in memory.
        seeds: Seeds of each mask, at least 2.
        find_threshold: Effective ratio for which to find the threshold of each strategy that has one.
        model: Whose patches; None: the study's, scenes-vit for data.
        to: Folder of the files; None: ``reports/STUDY/masks`` below `output`, or ``masks-DATA``.
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
    tables = [diagnosis_table(found, what.name, [setting, *notes]), agreement_table(found)]
    if find_threshold is not None:
        chosen = find_thresholds(masks, views, target=find_threshold, num_seeds=seeds)
        tables.append(thresholds_table(chosen, find_threshold))
    return DiagnosisReport(tables, write(found, folder), what.is_study)


def diagnosis_table(diagnosis: Diagnosis, name: str, notes: Sequence[str] = ()) -> Table:
    """Lay out the numbers of a diagnosis: one row for each strategy."""
    known = [key for key in _COLUMNS if any(key in each.values for each in diagnosis.numbers.values())]
    rows = [
        [strategy, *(each.values.get(key, "") for key in known)]
        for strategy, each in diagnosis.numbers.items()
    ]
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


def agreement_table(diagnosis: Diagnosis) -> Table:
    """Lay out how much strategies agree."""
    names = list(diagnosis.numbers)
    rows = [[name, *map(float, row)] for name, row in zip(names, diagnosis.agreement, strict=True)]
    notes = [
        "Intersection over union, percent, of the patches that two masks show under different seeds. Two "
        "independent halves agree by 33."
    ]
    return Table("Agreement", ["", *((name, Format("{:.0f}", scale=100)) for name in names)], rows, notes)
