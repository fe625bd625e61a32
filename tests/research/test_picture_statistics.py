"""What pictures are like: numbers that can be worked out by hand."""

from __future__ import annotations

import pytest
import torch

from pgsbench.errors import DataError
from pgsbench.inspection.preview import Pictures
from research.picture_statistics import statistics_of


def pictures(busy_inside: bool) -> Pictures:
    """A quarter of each picture is an object; noise is in it or around it."""
    generator = torch.Generator().manual_seed(0)
    noise = torch.randint(0, 255, (16, 3, 64, 64), generator=generator, dtype=torch.uint8)
    objects = torch.zeros(16, 64, 64, dtype=torch.uint8)
    objects[:, :32, :32] = 1
    shown = (objects > 0)[:, None] if busy_inside else (objects == 0)[:, None]
    return Pictures(torch.where(shown, noise, 100).to(torch.uint8), [""] * 16, objects)


@pytest.mark.parametrize("busy_inside", [True, False])
def test_edges_are_found_where_they_are(busy_inside: bool) -> None:
    found = statistics_of(pictures(busy_inside))
    assert found.object_share == found.object_share_low == found.object_patches == 0.25
    assert (found.edge_rank_inside > 0.8) == busy_inside
    assert (found.edge_rank_outside < 0.5) == busy_inside
    assert (found.kept_by_pgs > 0.7) == busy_inside
    assert found.kept_at_random == pytest.approx(0.5, abs=0.1)
    assert found.overlap_at_random == pytest.approx(1 / 3, abs=0.05)


def test_the_slope_of_a_spectrum_is_recovered() -> None:
    generator = torch.Generator().manual_seed(1)
    waves = torch.fft.fftfreq(64) * 64
    radius = torch.hypot(waves[:, None], waves[None]).clamp_min(1)
    white = torch.fft.fft2(torch.randn(64, 64, 64, generator=generator))
    light = torch.fft.ifft2(white / radius).real
    light = (light - light.amin()) / (light.amax() - light.amin())
    images = (255 * light)[:, None].repeat(1, 3, 1, 1).to(torch.uint8)
    found = statistics_of(Pictures(images, [""] * 64, torch.ones(64, 64, 64)))
    assert found.spectrum_slope == pytest.approx(-2.0, abs=0.15)
    assert found.chroma == 0.0


def test_pictures_without_objects_are_refused() -> None:
    with pytest.raises(DataError, match="not known"):
        statistics_of(Pictures(torch.zeros(1, 3, 16, 16, dtype=torch.uint8), [""]))
