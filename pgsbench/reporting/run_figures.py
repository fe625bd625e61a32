"""The figures of single runs, kept in their run directories: what the mask showed, how the loss fell."""

from __future__ import annotations

from matplotlib.figure import Figure

from pgsbench.reporting.frames import COMPLETE, PlannedRun, StudyFrames
from pgsbench.reporting.gallery import mask_gallery
from pgsbench.reporting.style import LIGHT, new_figure, pens, save, themed
from pgsbench.tracking.rundir import RunDir

_CURVES = {"loss": "contrastive loss", "lr": "learning rate", "samples_per_second": "pairs a second"}


def draw_missing(study: StudyFrames) -> None:
    """Draw ``figures/masks.png`` and ``figures/curves.png`` of each complete run that lacks them."""
    for run in study.runs:
        if run.status != COMPLETE or not RunDir(run.path).exists:  # deleted since it was read
            continue
        for name, draw in (("masks", _masks), ("curves", _curves)):
            path = run.path / "figures" / f"{name}.png"
            figure = None if path.is_file() else draw(run)
            if figure is not None:
                save(figure, path)


def _masks(run: PlannedRun) -> Figure | None:
    gallery = run.gallery
    if gallery is None:
        return None
    return mask_gallery(gallery.images, {run.arm: gallery.shown}, grid=gallery.grid)


def _curves(run: PlannedRun) -> Figure | None:
    lines = RunDir(run.path).metrics()
    if len(lines) < 2:
        return None
    with themed(LIGHT):
        figure = new_figure(2.2)
        pen = pens([run.arm], LIGHT)[run.arm]
        for axes, (key, name) in zip(figure.subplots(1, len(_CURVES)), _CURVES.items(), strict=True):
            points = [(line["samples"], line[key]) for line in lines if line.get(key) is not None]
            axes.plot([x for x, _ in points], [y for _, y in points], color=pen.colour, linewidth=1.0)
            axes.set(title=name, xlabel="pairs seen")
    return figure
