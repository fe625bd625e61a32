"""What pictures are like, as far as masks notice: sizes of objects, where edges lie, what masks keep.

``python -m research.picture_statistics scenes``. Nothing is trained. Worlds whose numbers differ will hardly
order masks alike; equal numbers prove nothing. Shape letters: b pictures, n patches, h and w pixels.

Measured on 1,024 training photos of Tiny ImageNet, whose boxes hold more than the object, on 1,024 training
scenes, and on as many scenes with clutter 0 and object size 0.1. Half of the patches are kept.

===========================================  ==========  ==========  ==========
what                                         photos      scenes      clutter 0
===========================================  ==========  ==========  ==========
object_share                                 0.54        0.32        0.10
object_patches                               0.62        0.57        0.25
edge_rank_inside, edge_rank_outside          0.60, 0.42  0.59, 0.46  0.89, 0.45
edge_strength                                0.53        0.50        0.25
contrast, chroma                             0.22, 0.16  0.19, 0.20  0.11, 0.21
spectrum_slope                               -2.2        -2.5        -2.6
kept_by_pgs, kept_at_random                  0.55, 0.50  0.56, 0.50  0.91, 0.51
overlap_of_pgs, overlap_at_random            0.62, 0.34  0.59, 0.34  0.59, 0.34
===========================================  ==========  ==========  ==========
"""

from __future__ import annotations

from dataclasses import asdict, dataclass

import pandas as pd
import torch
from torch import Tensor

from benchmarks.script import show, start
from pgsbench.data.transforms import normalise
from pgsbench.errors import DataError
from pgsbench.inspection.preview import Pictures, from_data
from pgsbench.masking.base import Strategy, view_of
from pgsbench.masking.coverage import object_shares, objects_kept, overlap
from pgsbench.masking.edges import edge_map, gradient, luminance, magnitude
from pgsbench.masking.noise import Draws
from pgsbench.masking.pgs import Pgs
from pgsbench.masking.random import Random

#: OpenAI's mean and deviation of photos, by which open_clip's pictures are normalised.
MEAN, STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)


@dataclass(frozen=True)
class PictureStatistics:
    """Means over pictures unless another thing is said.

    Attributes:
        object_share: Share of the frame that shows an object, median.
        object_share_low: The same, the smallest tenth.
        object_share_high: The same, the largest tenth.
        object_patches: Share of the patches that show an object at all.
        edge_rank_inside: Rank of the edge strength (Sobel, 0 to 1 within a picture) of patches that lie
            mostly in an object.
        edge_rank_outside: The same of all other patches.
        edge_strength: Gradient of the brightness (0 to 1) for a pixel.
        contrast: Standard deviation of the brightness within a picture.
        chroma: Largest minus smallest channel.
        spectrum_slope: Slope of the power spectrum on logarithmic axes.
        kept_by_pgs: Share of the object pixels that half of the patches show, chosen by `pgs`.
        kept_at_random: The same, at random.
        overlap_of_pgs: Intersection over union of two draws of `pgs`.
        overlap_at_random: The same, at random.
    """

    object_share: float
    object_share_low: float
    object_share_high: float
    object_patches: float
    edge_rank_inside: float
    edge_rank_outside: float
    edge_strength: float
    contrast: float
    chroma: float
    spectrum_slope: float
    kept_by_pgs: float
    kept_at_random: float
    overlap_of_pgs: float
    overlap_at_random: float


def statistics_of(
    pictures: Pictures, patch_size: tuple[int, int] = (8, 8), *, seed: int = 0
) -> PictureStatistics:
    """Measure pictures whose objects are known.

    Args:
        pictures: Square, of whole patches.
        patch_size: (height, width) in pixels.
        seed: Decides what is random in masks.

    Raises:
        DataError: The objects are not known.
    """
    if pictures.objects is None:
        raise DataError(
            "the objects of these pictures are not known", way_out="measure scenes or tiny-imagenet"
        )
    images, light = pictures.images.float() / 255, luminance(pictures.images.float() / 255)
    shows = (pictures.objects > 0).float().mean(dim=(1, 2))
    low, middle, high = torch.quantile(shows, torch.tensor([0.1, 0.5, 0.9])).tolist()
    shares = object_shares(pictures.objects, patch_size)
    inside, outside = _edge_ranks(images, shares, patch_size)
    chosen, random = Pgs(0.5), Random(0.5)
    kept, alike = zip(
        *(_masks(one, pictures, shares, patch_size, seed) for one in (chosen, random)), strict=True
    )
    return PictureStatistics(
        object_share=middle,
        object_share_low=low,
        object_share_high=high,
        object_patches=float((shares > 0).float().mean()),
        edge_rank_inside=inside,
        edge_rank_outside=outside,
        edge_strength=float(magnitude(*gradient(light)).mean()),
        contrast=float(light.flatten(1).std(dim=1).mean()),
        chroma=float((images.amax(1) - images.amin(1)).mean()),
        spectrum_slope=_spectrum_slope(light),
        kept_by_pgs=kept[0],
        kept_at_random=kept[1],
        overlap_of_pgs=alike[0],
        overlap_at_random=alike[1],
    )


def _edge_ranks(images: Tensor, shares: Tensor, patch_size: tuple[int, int]) -> tuple[float, float]:
    """Return the mean rank inside and outside of objects, over pictures that have both."""
    ranks = edge_map(images, patch_size, operator="sobel")
    is_object = shares >= 0.5
    has_both = is_object.any(1) & (~is_object).any(1)
    inside, outside = (
        ((ranks * where).sum(1) / where.sum(1).clamp_min(1))[has_both] for where in (is_object, ~is_object)
    )
    return float(inside.mean()), float(outside.mean())


def _masks(
    strategy: Strategy, pictures: Pictures, shares: Tensor, patch_size: tuple[int, int], seed: int
) -> tuple[float, float]:
    view = view_of(normalise(pictures.images, MEAN, STD), patch_size)
    draws = [Draws.of_batch(view.batch_size, seed=seed, step=step) for step in (0, 1)]
    one, two = (strategy.select(view, draws=each).shown(view.num_patches) for each in draws)
    return float(objects_kept(shares, one)["objects_kept"]), float(overlap(one, two).mean())


def _spectrum_slope(light: Tensor) -> float:
    """Return the slope of log power over log frequency, from 2 waves a picture to the finest but a tenth."""
    side = light.shape[-1]
    power = torch.fft.fft2(light - light.mean(dim=(1, 2), keepdim=True)).abs().square().mean(0)
    waves = torch.fft.fftfreq(side) * side
    radius = torch.hypot(waves[:, None], waves[None]).round()
    found = torch.arange(2, int(0.45 * side))
    mean = torch.stack([power[radius == one].mean() for one in found])
    x, y = found.float().log(), mean.log()
    return float(((x - x.mean()) * (y - y.mean())).sum() / (x - x.mean()).square().sum())


def main(data: str, count: int = 1024) -> None:
    """Print the statistics of a data set whose objects are known, at 64 x 64 pixels."""
    found = asdict(statistics_of(from_data(data, (64, 64), count=count, seed=0)))
    table = pd.DataFrame({"what": name, "mean": round(value, 3)} for name, value in found.items())
    show(f"{count} pictures of {data}", table)


if __name__ == "__main__":
    start(main)
