"""The table of ``pgsbench bench masks``: what choosing patches costs beside the image tower itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import torch

from pgsbench.data.store import Progress
from pgsbench.devices import devices_named, use
from pgsbench.errors import UserError
from pgsbench.inspection.timing import (
    SPREAD,
    MaskCost,
    costs,
    example_view,
    fastest,
    pgs_stages,
    released_stages,
)
from pgsbench.masking import CARDS
from pgsbench.masking.base import Need, PatchView, Selection, Strategy
from pgsbench.masking.configure import configure
from pgsbench.masking.noise import Draws
from pgsbench.masking.pgs import Pgs
from pgsbench.masking.pgs_released import PgsReleased, attention_bias
from pgsbench.masking.selection_check import select_checked
from pgsbench.models.clip import Clip, build
from pgsbench.models.tower_layout import layout_of
from pgsbench.reporting.render import COUNT, Format, Header, Table

#: What other masks are compared with: the published code's mask, without its attention bias.
RELEASED = "pgs-released"

_STAGES = {
    "z-score": "z-score",
    "edge": "edge",
    "similarity": "similarity",
    "otn": "OTN",
    "selection": "selection",
}


@dataclass(frozen=True)
class ReleasedWithBias:
    """`PgsReleased` as its published code runs it: the attention bias is built beside the selection.

    Args:
        released: The mask.
        num_heads: Attention heads of the tower that would get the bias.
    """

    released: PgsReleased
    num_heads: int
    needs: ClassVar[frozenset[Need]] = PgsReleased.needs

    @property
    def mask_ratio(self) -> float:
        """That of the mask."""
        return self.released.mask_ratio

    def select(self, view: PatchView, *, draws: Draws) -> Selection:
        """Choose patches and build the bias, which nothing uses here."""
        masked, edge = self.released.masked(view, draws=draws)
        selection = self.released.fill(masked, edge, draws=draws)
        attention_bias(masked, selection.keep, num_heads=self.num_heads)
        return selection


@dataclass(frozen=True)
class TowerCost:
    """The unmasked image tower that masks are compared with.

    Attributes:
        milliseconds: Fastest forward and backward pass of one batch.
        precision: In which it ran, in words.
    """

    milliseconds: float
    precision: str


def bench_masks(
    model: str = "ViT-B-16",
    *,
    strategies: Sequence[str] | None = None,
    batch_size: int = 16,
    device: str = "cpu",
    threads: int = 1,
    progress: Progress = lambda *_: None,
) -> Table:
    """Measure masks beside the image tower of a model that is built for it; see `mask_costs`.

    Args:
        model: Name of the model.
        strategies: Names of strategies; None: all built-in ones.
        batch_size: Pictures in the batch.
        device: As on the command line.
        threads: CPU threads, from now on.
        progress: Told what is being measured.

    Raises:
        UserError: There is no such model, strategy or device.
    """
    on = use(devices_named(device)[0])
    torch.set_num_threads(threads)
    clip = build(model, seed=0, device=on)
    return mask_costs(
        clip, model, strategies or list(CARDS), batch_size=batch_size, device=on, progress=progress
    )


def mask_costs(
    clip: Clip,
    name: str,
    strategies: Sequence[str],
    *,
    batch_size: int,
    device: torch.device,
    progress: Progress = lambda *_: None,
    repetitions: int = 20,
) -> Table:
    """Measure strategies and the image tower on one batch in one run.

    Args:
        clip: The model, on `device`.
        name: Its name, for the note.
        strategies: Names of strategies, at their defaults. `RELEASED` is always measured, too.
        batch_size: Pictures in the batch.
        device: Where.
        progress: Told what is being measured.
        repetitions: Of every mask; on a CPU the tower, which takes seconds, is timed once.

    Raises:
        PluginError: A name stands for no strategy, or for one that breaks the rules of a selection.
    """
    layout = layout_of(clip.model)
    width = int(clip.model_cfg["vision_cfg"].get("width") or 768)  # timm towers do not say theirs
    view = example_view(layout.grid, layout.patch_size, batch_size, width=width, device=device)
    cases, left_out = _cases(strategies, view, layout.num_heads)
    progress("timing the image tower", 0, 1)
    tower = _tower_cost(clip, view, repetitions=repetitions if device.type == "cuda" else 1)
    progress("timing the image tower", 1, 1)
    progress("timing masks", 0, 2)
    measured = costs(cases, repetitions=repetitions)
    progress("timing masks", 1, 2)
    stages = {}
    for row, (strategy, seen) in cases.items():
        if isinstance(strategy, Pgs):
            stages[row] = pgs_stages(strategy, seen, repetitions=repetitions)
        elif isinstance(strategy, PgsReleased):
            stages[row] = released_stages(strategy, seen, repetitions=repetitions)
    progress("timing masks", 2, 2)
    setting = (
        f"{name}: {batch_size} pictures of {layout.grid[0]} x {layout.grid[1]} patches, {view.device}, "
        f"CPU threads: {torch.get_num_threads()}, torch {torch.__version__}."
    )
    return table_of(measured, stages, tower, [setting, *left_out])


def table_of(
    measured: Sequence[MaskCost],
    stages: Mapping[str, Mapping[str, float]],
    tower: TowerCost,
    notes: Sequence[str],
) -> Table:
    """Lay out what was measured: one row for each mask, its stages below it where they are known."""
    reference = next(one.fastest_milliseconds for one in measured if one.name == RELEASED)
    rows: list[list[object]] = []
    for one in measured:
        rows.append(
            [
                one.name,
                one.fastest_milliseconds,
                one.milliseconds,
                one.fastest_milliseconds / tower.milliseconds,
                one.fastest_milliseconds / reference,
                one.num_kept,
                one.effective_ratio,
                one.peak_bytes / 2**20,
            ]
        )
        for stage, title in _STAGES.items():
            if stage in stages.get(one.name, {}):
                took = stages[one.name][stage]
                row = [f"  {title}", took, "", took / tower.milliseconds, took / reference, "", "", ""]
                rows.append(row)
    header: Header = [
        "mask",
        ("ms per batch", Format("{:,.2f}")),
        ("median ms", Format("{:,.2f}")),
        ("share of tower", Format("{:.3%}")),
        ("x of released", Format("{:.2f}×")),
        ("tokens kept", COUNT),
        ("effective ratio", Format("{:.1%}")),
        ("peak MiB", Format("{:,.1f}")),
    ]
    explained = [
        f"Image tower, unmasked, forward and backward, {tower.precision}: {tower.milliseconds:,.1f} ms; "
        "shares are of this. It is no training step: that has the text tower and the optimizer, too, and an "
        "image tower with fewer patches. The share of the whole step is the `mask_share` in the summary of a "
        "run; a report's Cost table has it.",
        "ms per batch: the fastest repetition, which other load disturbs least; shares and ratios are its. "
        "On a CPU it is processor time, summed over threads. "
        f"x of released: over {RELEASED} without its attention bias; what the bias costs inside attention is "
        "not in the table.",
        "Stages are timed one by one, so they need not add up.",
        "peak MiB: memory beyond what was held before; on CUDA as its allocator tells it, elsewhere that of "
        "all tensors alive at once, without what an operation needs inside.",
    ]
    uneven = [one.name for one in measured if one.milliseconds > SPREAD * one.fastest_milliseconds]
    if uneven:
        explained.insert(
            0,
            f"Warning: the median is more than {SPREAD:g} times the fastest for {', '.join(uneven)}: the "
            "machine was busy, or these take too little time to be measured. Repeat before you compare.",
        )
    if any(one.name == "attentive" for one in measured):
        explained.append(
            "attentive: without the forward pass of its moving-average tower on whole pictures, most of its "
            "cost; the `mask_share` of a run has it."
        )
    return Table("Cost of masks", header, rows, [*notes, *explained])


def _cases(
    names: Sequence[str], view: PatchView, num_heads: int | None
) -> tuple[dict[str, tuple[Strategy, PatchView]], list[str]]:
    """Return row -> strategy and its batch, and a line for each strategy that cannot run."""
    cases: dict[str, tuple[Strategy, PatchView]] = {}
    left_out = []
    for name in dict.fromkeys([*names, RELEASED]):
        try:
            strategy = configure(name, {}, where="--strategies")
            select_checked(strategy, view, draws=Draws.of_batch(view.batch_size, seed=0, device=view.device))
        except UserError:
            raise
        except Exception as error:  # somebody's own strategy can fail in any way; the others are measured
            left_out.append(f"Left out: {name}, which cannot run here ({type(error).__name__}: {error}).")
            continue
        seen = view.limited_to(strategy.needs)
        if isinstance(strategy, Pgs):
            cases[f"{name}, pixels only"] = (strategy, replace(seen, progress=0.0))
            cases[f"{name}, pixels and tokens"] = (strategy, seen)
            continue
        cases[name] = (strategy, seen)
        if isinstance(strategy, PgsReleased) and num_heads is not None:
            cases[f"{name} + attention bias"] = (ReleasedWithBias(strategy, num_heads), seen)
    return cases, left_out


def _tower_cost(clip: Clip, view: PatchView, *, repetitions: int) -> TowerCost:
    on_cuda = view.device.type == "cuda"  # training then uses bfloat16, unless a study says otherwise
    model: Any = clip.model.train()

    def step() -> None:
        with torch.autocast(view.device.type, torch.bfloat16, enabled=on_cuda):
            features = model.encode_image(view.images)
        model.zero_grad(set_to_none=True)
        features.float().square().sum().backward()

    milliseconds = fastest(step, view.device, repetitions)
    model.zero_grad(set_to_none=True)
    return TowerCost(milliseconds, "bfloat16 autocast" if on_cuda else "float32")
