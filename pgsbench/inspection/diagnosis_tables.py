"""The tables of ``pgsbench masks diagnose``."""

from __future__ import annotations

from pgsbench.inspection.diagnosis import Diagnosis
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


def diagnosis_table(diagnosis: Diagnosis, name: str) -> Table:
    """Lay out the numbers of a diagnosis: one row for each strategy."""
    known = [key for key in _COLUMNS if any(key in each.values for each in diagnosis.numbers.values())]
    rows: list[list[object]] = []
    for strategy, each in diagnosis.numbers.items():
        cells = [each.values.get(key, "") for key in known]
        rows.append([strategy, *cells])
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
    return Table(
        f"Masks on {name}",
        ["strategy", *((_COLUMNS[key], _FORMATS.get(key, PERCENT)) for key in known)],
        rows,
        notes,
    )


def agreement_table(diagnosis: Diagnosis) -> Table:
    """Lay out how much strategies agree."""
    names = list(diagnosis.numbers)
    rows = [[name, *map(float, row)] for name, row in zip(names, diagnosis.agreement, strict=True)]
    notes = [
        "Intersection over union, percent, of the patches that two masks show under different seeds. Two "
        "independent halves agree by 33."
    ]
    return Table("Agreement", ["", *((name, Format("{:.0f}", scale=100)) for name in names)], rows, notes)
