"""``pgsbench masks diagnose`` as a whole: measure masks on data, find thresholds, write files."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from numpy.typing import NDArray

from pgsbench.colours import PALETTE
from pgsbench.data.shards import open_pairs, open_reader
from pgsbench.data.store import Progress
from pgsbench.disk.whole_files import unwritable
from pgsbench.errors import ConfigError
from pgsbench.inspection.diagnosis import Diagnosis, MaskNumbers, diagnose, find_thresholds, thresholds_table
from pgsbench.inspection.first_masks import first_view, usable
from pgsbench.inspection.inspected import inspected
from pgsbench.models.clip import build
from pgsbench.reporting.columns import OBJECTS
from pgsbench.reporting.render import PERCENT, Format, Table
from pgsbench.reporting.style import INK, PAGE_WIDTH, new_figure, pens, save, themed

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


_PANELS_A_LINE = 8

#: What the lower left panel compares, where it is known: key of `MaskNumbers.values` -> (label, marker).
_SHARES = {
    "top_edges": ("strongest edges shown", "^"),
    "insides_kept": ("object insides shown", "o"),
    "outlines_kept": ("object outlines shown", "s"),
    "objects_nearly_gone": ("object nearly gone", "X"),
}


def write(diagnosis: Diagnosis, folder: Path) -> list[Path]:
    """Write CSV files with unrounded numbers and the figure ``masks.png``; returns what was written."""
    folder.mkdir(parents=True, exist_ok=True)
    names = list(diagnosis.numbers)
    rows = [{"strategy": name, **each.values} for name, each in diagnosis.numbers.items()]
    agreement = pd.DataFrame(diagnosis.agreement, columns=names)
    agreement.insert(0, "strategy", names)
    pd.DataFrame(rows).to_csv(folder / "masks.csv", index=False)
    agreement.to_csv(folder / "agreement.csv", index=False)
    figure = save(diagnosis_figure(diagnosis), folder / "masks.png")
    return [folder / "masks.csv", folder / "agreement.csv", figure]


def diagnosis_figure(diagnosis: Diagnosis) -> Figure:
    """Draw a histogram and a keep-rate map for each strategy, what is shown of objects, and agreement."""
    names = list(diagnosis.numbers)
    lines = max(1, -(-len(names) // _PANELS_A_LINE))
    columns = max(4, -(-len(names) // lines))  # as many in each line
    side = PAGE_WIDTH / columns
    heights = [lines * (side + 1.15), max(2.4, 1.1 + 0.2 * len(names))]
    with themed():
        figure = new_figure(sum(heights))
        parts: Any = figure.subfigures(2, 1, height_ratios=heights)
        upper, lower = parts
        _draw_strategies(upper, diagnosis.numbers, columns)
        left, right = lower.subplots(1, 2, width_ratios=(1.0, 1.0))
        _draw_shares(left, diagnosis)
        _draw_agreement(right, names, diagnosis.agreement)
    return figure


def _draw_strategies(figure: Any, findings: Mapping[str, MaskNumbers], columns: int) -> None:
    """Draw for each strategy its histogram of effective ratios, and below it where it shows patches."""
    lines = -(-len(findings) // columns)
    panels = figure.subplots(2 * lines, columns, squeeze=False, height_ratios=[0.75, 1.0] * lines)
    for axes in panels.flat:
        axes.set_axis_off()
    bias = {name: 100 * (each.keep_rate - each.keep_rate.mean()) for name, each in findings.items()}
    limit = max(5.0, *(float(np.abs(points).max()) for points in bias.values()))
    pen_of = pens(findings)
    drawn: Any = None
    for index, (name, each) in enumerate(findings.items()):
        above, below = panels[2 * (index // columns) : 2 * (index // columns) + 2, index % columns]
        above.set_axis_on()
        above.hist(100 * each.effective_ratio, bins=np.linspace(0, 100, 26), color=pen_of[name].colour)
        above.set(xlim=(0, 100), xticks=[0, 50, 100], yticks=[])
        above.tick_params(labelsize=6, pad=1)
        above.spines["left"].set_visible(False)
        mean = f"{100 * each.effective_ratio.mean():.0f} % masked"
        above.set_title(f"{textwrap.fill(name, 13)}\n{mean}", fontsize=7)
        below.set_axis_on()
        drawn = below.imshow(bias[name], cmap="RdBu", vmin=-limit, vmax=limit)
        _bare(below)
    panels[0][0].set_ylabel("pictures", fontsize=7)
    panels[1][0].set_ylabel("shown more\nor less often", fontsize=7)
    bar = figure.colorbar(drawn, ax=panels, location="right", fraction=0.015, pad=0.01, aspect=30)
    bar.set_label("points above the mask's mean", fontsize=6.5)
    bar.ax.tick_params(labelsize=6)
    bar.outline.set_visible(False)


def _draw_shares(axes: Any, diagnosis: Diagnosis) -> None:
    names = list(diagnosis.numbers)
    places = np.arange(len(names))
    known = [key for key in _SHARES if any(key in each.values for each in diagnosis.numbers.values())]
    for key, colour in zip(known, PALETTE, strict=False):
        label, marker = _SHARES[key]
        values = [100 * diagnosis.numbers[name].values.get(key, np.nan) for name in names]
        axes.plot(values, places, marker=marker, color=colour, linestyle="none", label=label, markersize=4.5)
    axes.set(xlim=(-3, 103), ylim=(len(names) - 0.5, -0.5), xlabel="share of patches, or of pictures (%)")
    axes.xaxis.label.set_fontsize(7.5)
    axes.set_yticks(places, names, fontsize=7)
    axes.grid(axis="x", visible=False)
    axes.tick_params(axis="y", length=0)
    look = {"fontsize": 6.5, "handletextpad": 0.2, "columnspacing": 1.0}
    axes.legend(loc="lower center", bbox_to_anchor=(0.4, 1.0), ncols=2, **look)


def _draw_agreement(axes: Any, names: list[str], agreement: NDArray[np.float64]) -> None:
    axes.imshow(agreement, cmap="Blues", vmin=0.0, vmax=1.0)
    for (row, col), value in np.ndenumerate(agreement):
        ink = "white" if value > 0.6 else INK
        axes.text(col, row, f"{100 * value:.0f}", ha="center", va="center", fontsize=6.5, color=ink)
    _bare(axes)
    axes.set_xticks(range(len(names)), names, fontsize=7, rotation=45, ha="right", rotation_mode="anchor")
    axes.set_yticks(range(len(names)), names, fontsize=7)
    axes.tick_params(length=0)
    axes.set_title("agreement between two seeds\n(IoU, %)", fontsize=8)


def _bare(axes: Any) -> None:
    axes.set(xticks=[], yticks=[])
    axes.grid(visible=False)
    axes.spines[:].set_visible(False)
