"""The mask gallery for anybody's pictures: what each strategy keeps of them, before any training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from matplotlib.figure import Figure
from torch import Tensor

from pgsbench.data.memory import InMemory
from pgsbench.data.shards import open_reader, resolve
from pgsbench.data.transforms import decode
from pgsbench.errors import DataError
from pgsbench.inspection.diagnosis import draw, draw_stages, first_view
from pgsbench.masking.base import PatchView, Strategy
from pgsbench.masking.edges import edge_map
from pgsbench.masking.pgs import Pgs
from pgsbench.models.clip import Clip
from pgsbench.reporting.gallery import ShownSelection, mask_gallery


@dataclass(frozen=True)
class Pictures:
    """Pictures to look at.

    Attributes:
        images: (b, 3, h, w) uint8.
        captions: One text for each.
        objects: (b, h, w) object maps, or None where unknown.
    """

    images: Tensor
    captions: list[str]
    objects: Tensor | None = None


def from_files(paths: Sequence[Path], size: tuple[int, int]) -> Pictures:
    """Read image files at the size of a model.

    Raises:
        DataError: A file is missing or no image.
    """
    images = []
    for path in paths:
        if not path.is_file():
            raise DataError("there is no such picture", where=str(path))
        pixels = decode(path.read_bytes(), size, where=str(path), way_out="name a PNG, JPEG or WebP picture")
        images.append(torch.from_numpy(pixels.copy()))
    return Pictures(torch.stack(images).permute(0, 3, 1, 2), [path.name for path in paths])


def from_data(train: str, size: tuple[int, int], *, count: int, seed: int) -> Pictures:
    """Draw pictures of training data: a built-in data set, or shards."""
    captions: list[str] = []

    def remember(texts: list[str]) -> Tensor:
        captions.extend(texts)
        return torch.arange(len(captions) - len(texts), len(captions))[:, None]

    shard = resolve(train)[:1]
    reader = open_reader(shard, image_size=size, tokenize=remember, memory_limit_gib=1e9, workers=1)
    assert isinstance(reader, InMemory)
    batch = next(reader.batches(seed=seed, batch_size=min(count, len(reader))))
    return Pictures(batch.images, [captions[int(index)] for index in batch.texts[:, 0]], batch.objects)


def preview(pictures: Pictures, strategies: Mapping[str, Strategy], clip: Clip, *, seed: int) -> Figure:
    """Draw what each strategy keeps of each picture as training begins, beside the edge map.

    The edge map is that of pgs, and the candidates of pgs are outlined; without pgs it is Sobel's.

    Args:
        pictures: At the model's size.
        strategies: Name -> strategy.
        clip: The model whose patches are meant; its weights do not matter.
        seed: Decides what is random in a mask.

    Raises:
        DataError: A strategy needs to know objects or attention, which the pictures do not tell.
    """
    view = first_view(clip, pictures.images, pictures.objects)
    assert view.images is not None
    selections, maps = {}, {}
    for name, strategy in strategies.items():
        _check(name, strategy, view)
        chosen = draw(strategy, view, seed=seed, step=0)
        candidates = None
        if isinstance(strategy, Pgs):
            stages = draw_stages(strategy, view, seed=seed, step=0)
            maps[_edge_title(strategy)] = stages.edge.numpy()
            candidates = stages.candidates.numpy()
        visible = None if chosen.visible is None else chosen.visible.numpy()
        selections[name] = ShownSelection(chosen.keep.numpy(), visible, candidates)
    if not maps:
        maps["edges"] = edge_map(view.images, view.patch_size, operator="sobel").numpy()
    return mask_gallery(
        pictures.images.permute(0, 2, 3, 1).numpy(),
        selections,
        grid=view.grid,
        captions=pictures.captions,
        maps=maps,
    )


def _edge_title(strategy: Pgs) -> str:
    operator = "" if strategy.edge == "sobel" else f" ({strategy.edge})"
    spread = f"\nspread {strategy.edge_spread}" if strategy.edge_spread else ""
    return f"edges{operator}{spread}"


def _check(name: str, strategy: Strategy, view: PatchView) -> None:
    if "attention" in strategy.needs:
        raise DataError(
            "this strategy needs the attention of a tower in training, which a preview does not have",
            where="--strategies",
            value=name,
            way_out="choose another strategy; the report of a run with it shows what it keeps",
        )
    if "objects" in strategy.needs and view.objects is None:
        raise DataError(
            "this strategy needs to know objects, which these pictures do not tell",
            where="--strategies",
            value=name,
            way_out="choose another strategy; scenes and emoji know their objects",
        )
