"""What choosing patches costs beside the image tower itself.

``python -m benchmarks.masks --model ViT-B-16 --batch-size 16``
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Annotated, Any

import pandas as pd
import torch
import typer

from benchmarks.script import show, start
from benchmarks.timing import MaskCost, costs, example_view, fastest
from pgsbench.devices import devices_named, use
from pgsbench.masking import STRATEGIES
from pgsbench.masking.base import PatchView, Strategy
from pgsbench.masking.configure import configure
from pgsbench.masking.pgs import Pgs
from pgsbench.models.clip import Clip, build
from pgsbench.models.tower_layout import layout_of

#: What other masks are compared with: the published code's mask, without its attention bias.
RELEASED = "pgs-released"


def mask_costs(
    clip: Clip, strategies: Sequence[str], *, batch_size: int, device: torch.device, repetitions: int = 20
) -> tuple[pd.DataFrame, float]:
    """Measure strategies and the image tower on one batch in one run.

    Args:
        clip: The model, on `device`.
        strategies: Names of strategies, at their defaults. `RELEASED` is always measured, too.
        batch_size: Pictures in the batch.
        device: Where.
        repetitions: Of every mask; on a CPU the tower, which takes seconds, is timed once.

    Returns:
        One row for each mask, and the milliseconds of the tower, unmasked, forward and backward.

    Raises:
        PluginError: A name stands for no strategy.
    """
    layout = layout_of(clip.model)
    width = int(clip.model_cfg["vision_cfg"].get("width") or 768)  # timm towers do not say theirs
    view = example_view(layout.grid, layout.patch_size, batch_size, width=width, device=device)
    cases = _cases(strategies, view)
    tower = _tower_milliseconds(clip, view, repetitions if device.type == "cuda" else 1)
    return table_of(costs(cases, repetitions=repetitions), tower), tower


def table_of(measured: Sequence[MaskCost], tower: float) -> pd.DataFrame:
    """Lay out what was measured; shares and ratios are of the fastest repetition."""
    reference = next(one.fastest_milliseconds for one in measured if one.name == RELEASED)
    return pd.DataFrame(
        {
            "mask": one.name,
            "ms per batch": round(one.fastest_milliseconds, 2),
            "median ms": round(one.milliseconds, 2),
            "% of tower": round(100 * one.fastest_milliseconds / tower, 3),
            "x of released": round(one.fastest_milliseconds / reference, 2),
            "tokens kept": one.num_kept,
            "effective ratio": round(one.effective_ratio, 3),
            "peak MiB": round(one.peak_bytes / 2**20, 1),
        }
        for one in measured
    )


def _cases(names: Sequence[str], view: PatchView) -> dict[str, tuple[Strategy, PatchView]]:
    cases: dict[str, tuple[Strategy, PatchView]] = {}
    for name in dict.fromkeys([*names, RELEASED]):
        strategy = configure(name, {}, where="--strategies")
        seen = view.limited_to(strategy.needs)
        if isinstance(strategy, Pgs):
            cases[f"{name}, pixels only"] = (strategy, replace(seen, progress=0.0))
            cases[f"{name}, pixels and tokens"] = (strategy, seen)
        else:
            cases[name] = (strategy, seen)
    return cases


def _tower_milliseconds(clip: Clip, view: PatchView, repetitions: int) -> float:
    on_cuda = view.device.type == "cuda"  # training then uses bfloat16, unless a study says otherwise
    model: Any = clip.model.train()

    def step() -> None:
        with torch.autocast(view.device.type, torch.bfloat16, enabled=on_cuda):
            features = model.encode_image(view.images)
        model.zero_grad(set_to_none=True)
        features.float().square().sum().backward()

    return fastest(step, view.device, repetitions)


def main(
    model: Annotated[str, typer.Option(help="Whose image tower and patches.")] = "ViT-B-16",
    batch_size: Annotated[int, typer.Option(help="Pictures in the batch.", min=1)] = 16,
    device: str = "cpu",
    strategies: Annotated[str, typer.Option(help="Joined by commas.")] = ",".join(STRATEGIES.builtin),
    threads: Annotated[int, typer.Option(help="Of the CPU.", min=1)] = 1,
) -> None:
    """Time masks beside the unmasked image tower of a model."""
    on = use(devices_named(device)[0])
    torch.set_num_threads(threads)
    clip = build(model, seed=0, device=on)
    table, tower = mask_costs(clip, strategies.split(","), batch_size=batch_size, device=on)
    show(
        f"Cost of masks: {model}, {batch_size} pictures, {on}, {threads} CPU threads",
        table,
        f"Image tower, unmasked, forward and backward: {tower:,.1f} ms "
        f"({'bfloat16 autocast' if on.type == 'cuda' else 'float32'}). It is no training step.",
        "ms per batch: the fastest repetition; on a CPU processor time, summed over threads.",
        f"x of released: over {RELEASED} without its attention bias.",
        "peak MiB: beyond what was held before; on a CPU of all tensors alive at once.",
        "attentive: without the forward pass of its moving-average tower, most of its cost.",
    )


if __name__ == "__main__":
    start(main)
