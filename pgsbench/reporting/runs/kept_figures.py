"""The figures of single runs, kept in their run directories: what the mask showed, how the loss fell."""

from __future__ import annotations

from matplotlib.figure import Figure

from pgsbench.colours import arm_colours
from pgsbench.records import files
from pgsbench.reporting.gallery import ShownSelection, mask_gallery
from pgsbench.reporting.study_frames import PlannedRun, StudyFrames
from pgsbench.reporting.style import new_figure, save, themed
from pgsbench.tracking.rundir import RunDir

_CURVES = {"loss": "contrastive loss", "lr": "learning rate", "samples_per_second": "pairs a second"}


def draw_missing(study: StudyFrames) -> None:
    """Draw ``figures/masks.png`` and ``figures/curves.png`` of each complete run that lacks them."""
    for run in study.runs:
        if run.state != "done" or not RunDir(run.path).exists:  # deleted since it was read
            continue
        colour = arm_colours(study.arms)[run.arm]
        for name, draw in (("masks", _masks), ("curves", _curves)):
            path = run.path / files.FIGURES / f"{name}.png"
            figure = None if path.is_file() else draw(run, colour)
            if figure is not None:
                save(figure, path)


def _masks(run: PlannedRun, colour: str) -> Figure | None:
    gallery = run.gallery
    if gallery is None:
        return None
    shown = ShownSelection(gallery.shown, seen=gallery.seen, tokens=gallery.tokens)
    return mask_gallery(gallery.images, {run.arm: shown}, grid=gallery.grid, colours={run.arm: colour})


def _curves(run: PlannedRun, colour: str) -> Figure | None:
    lines = RunDir(run.path).metrics()
    if len(lines) < 2:
        return None
    with themed():
        figure = new_figure(2.2)
        for axes, (key, name) in zip(figure.subplots(1, len(_CURVES)), _CURVES.items(), strict=True):
            points = [(line["samples"], line[key]) for line in lines if line.get(key) is not None]
            axes.plot([x for x, _ in points], [y for _, y in points], color=colour, linewidth=1.0)
            axes.set(title=name, xlabel="pairs seen")
    return figure
