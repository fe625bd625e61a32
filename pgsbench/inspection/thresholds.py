"""The threshold at which a mask hides a wanted share of real pictures, found without training."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace

from pgsbench.data.samples import Reader
from pgsbench.data.store import Progress
from pgsbench.errors import StudyError
from pgsbench.inspection.first_masks import draw, first_view, usable
from pgsbench.masking.base import PatchView, Strategy
from pgsbench.masking.configure import fields_of
from pgsbench.models.clip import Clip
from pgsbench.reporting.render import PERCENT, Format, Table

#: Thresholds are looked for in [-1, 1], in steps of 1 / `_STEPS`.
_STEPS = 10_000


@dataclass(frozen=True)
class Chosen:
    """A strategy whose threshold has been chosen.

    Attributes:
        strategy: With that threshold.
        effective_ratio: What comes of it: mean share of the patches without influence.
    """

    strategy: Strategy
    effective_ratio: float


def find_thresholds(
    clip: Clip,
    reader: Reader,
    strategies: Mapping[str, Strategy],
    *,
    target: float,
    batch_size: int,
    num_batches: int,
    num_seeds: int,
    data_seed: int = 0,
    progress: Progress = lambda *_: None,
) -> tuple[dict[str, Chosen], list[str]]:
    """Find the lowest threshold at which the effective ratio is no more than `target`.

    By bisection in [-1, 1], where the correlations of `cluster` lie, and the standard deviations within
    which the ratio of `pgs` changes. The masks are those that `pgsbench.inspection.diagnosis.diagnose`
    measures when it is given the same numbers. All pictures are held in memory.

    Args:
        clip: The model whose patches are meant; its weights do not matter.
        reader: Source of the pictures.
        strategies: Name -> strategy. Those without a field `threshold`, or on whose ratio it has no
            influence (`pgs` without `max_ratio`), are passed over.
        target: Wanted share of the patches without influence, dropped or hidden, mean over pictures.
        batch_size: Pictures in a batch.
        num_batches: Batches.
        num_seeds: Seeds 0, 1, ... of the masks.
        data_seed: Decides the batches.
        progress: Told of every strategy.

    Returns:
        What was found, by name, and a sentence on each strategy that cannot reach the target.

    Raises:
        StudyError: No strategy has a threshold that matters.
        PluginError: A strategy looks at what it does not need, or its answer is malformed.
    """
    with_threshold = {name: one for name, one in strategies.items() if _has_threshold(one)}
    can_run = usable(with_threshold, has_objects=reader.has_objects)[0] if with_threshold else {}
    batches = reader.batches(seed=data_seed, batch_size=batch_size)
    views = []
    for _ in range(num_batches if can_run else 0):
        batch = next(batches)
        views.append(first_view(clip, batch.images, batch.objects))
    found, notes = {}, []
    for number, (name, strategy) in enumerate(can_run.items()):
        try:
            ends = [_at(strategy, step) for step in (-_STEPS, _STEPS)]
        except ValueError as error:  # somebody else's strategy, whose threshold means something else
            notes.append(f"No threshold: {name}; {error}.")
            continue
        most, least = (_ratio(end, views, num_seeds) for end in ends)
        if least < most and least <= target <= most:
            found[name] = _bisect(strategy, views, num_seeds, target)
        elif least < most:
            notes.append(
                f"No threshold: {name}; its effective ratio lies between {100 * least:.1f} and "
                f"{100 * most:.1f} % at a mask_ratio of {strategy.mask_ratio:g}."
            )
        progress("finding thresholds", number + 1, len(can_run))
    if not found and not notes:
        raise StudyError(
            "no strategy has a threshold to find",
            value=", ".join(strategies),
            way_out="name one whose ratio differs from picture to picture: cluster, or pgs with a max_ratio",
        )
    return found, notes


def yaml_line(name: str, strategy: Strategy) -> str:
    """Return a strategy as a line of a study file: its mask ratio and threshold, and what is no default.

    Args:
        name: The strategy's own name, as a study gives it.
        strategy: The strategy.
    """
    defaults = {field.name: field.default for field in fields(strategy)}  # type: ignore[arg-type]  # a dataclass
    shown = [
        f"{key}: {json.dumps(value)}"  # JSON is YAML, too
        for key, value in fields_of(strategy).items()
        if key in ("mask_ratio", "threshold") or value != defaults[key]
    ]
    return f"strategy: {{{', '.join([f'name: {name}', *shown])}}}"


def _has_threshold(strategy: Strategy) -> bool:
    return any(field.name == "threshold" for field in fields(strategy))  # type: ignore[arg-type]  # a dataclass


def thresholds_table(found: Mapping[str, Chosen], notes: Sequence[str], target: float) -> Table:
    """Lay out what `find_thresholds` has found."""
    rows: list[list[object]] = [
        [name, one.strategy.threshold, one.effective_ratio]  # type: ignore[attr-defined]  # it has one
        for name, one in found.items()
    ]
    return Table(
        f"Thresholds for an effective ratio of {100 * target:g} %",
        ["strategy", ("threshold", Format("{:.4f}")), ("effective ratio", PERCENT)],
        rows,
        notes,
    )


def _bisect(strategy: Strategy, views: list[PatchView], num_seeds: int, target: float) -> Chosen:
    low, high = -_STEPS - 1, _STEPS  # the ratio is above the target at `low`, and not at `high`
    while high - low > 1:
        middle = (low + high) // 2
        if _ratio(_at(strategy, middle), views, num_seeds) > target:
            low = middle
        else:
            high = middle
    chosen = _at(strategy, high)
    return Chosen(chosen, _ratio(chosen, views, num_seeds))


def _at(strategy: Strategy, step: int) -> Strategy:
    changed: Strategy = replace(strategy, threshold=step / _STEPS)  # type: ignore[type-var]  # a dataclass
    return changed


def _ratio(strategy: Strategy, views: list[PatchView], num_seeds: int) -> float:
    hidden = pictures = 0.0
    for step, view in enumerate(views):
        for seed in range(num_seeds):
            ratio = draw(strategy, view, seed=seed, step=step).effective_ratio(view.num_patches)
            hidden, pictures = hidden + float(ratio) * view.batch_size, pictures + view.batch_size
    return hidden / pictures
