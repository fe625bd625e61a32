"""``masks diagnose --find-threshold``: the threshold it finds gives the ratio that was asked for."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import islice
from typing import Any, ClassVar

import pytest
from tinyworld import TinyWorld

from pgsbench.config.schema import DataConfig
from pgsbench.data.shards import open_pairs, open_reader
from pgsbench.errors import StudyError
from pgsbench.inspection.diagnosis import diagnose
from pgsbench.inspection.first_masks import first_view
from pgsbench.inspection.thresholds import find_thresholds, thresholds_table
from pgsbench.masking.base import PatchView, Selection, Strategy
from pgsbench.masking.cluster import Cluster
from pgsbench.masking.noise import Draws
from pgsbench.masking.pgs import Pgs
from pgsbench.masking.random import Random
from pgsbench.models.clip import build


@pytest.fixture(scope="module")
def views(tiny: TinyWorld) -> list[PatchView]:
    clip, data = build("tiny-vit", seed=0), DataConfig(train=str(tiny.shards), augment=None)
    reader = open_reader(open_pairs(data), data, image_size=clip.image_size, tokenize=clip.tokenize)
    batches = islice(reader.batches(seed=0, batch_size=16), 3)
    return [first_view(clip, batch.images, batch.objects) for batch in batches]


@pytest.mark.parametrize(
    ("strategy", "target"),
    [
        (Cluster(0.3), 0.5),
        (Cluster(0.3), 0.8),
        (Cluster(0.6, anchor_share=0.1), 0.7),
        (Pgs(0.3, max_ratio=0.5), 0.4),
    ],
)
def test_the_effective_ratio_is_the_one_asked_for(
    views: list[PatchView], strategy: Strategy, target: float
) -> None:
    def measured(mask: Strategy) -> float:
        return float(diagnose({"mask": mask}, views, num_seeds=2).numbers["mask"].effective_ratio.mean())

    ((chosen, ratio),) = find_thresholds({"mask": strategy}, views, target=target, num_seeds=2).values()
    assert chosen == replace(strategy, threshold=chosen.threshold)  # type: ignore
    # Of 96 masks of 16 patches; what the floor of `mask_ratio` adds to the masked share is counted.
    assert target - 0.02 < ratio <= target
    assert measured(chosen) == pytest.approx(ratio, abs=1e-6)
    assert measured(replace(chosen, threshold=chosen.threshold - 1e-4)) > target  # type: ignore


@dataclass(frozen=True)
class Narrow:
    """Its threshold is no correlation."""

    threshold: float = 0.5
    mask_ratio: float = 0.5
    needs: ClassVar[frozenset[Any]] = frozenset()

    def __post_init__(self) -> None:
        if self.threshold < 0:
            raise ValueError("threshold must not be negative")

    def select(self, view: PatchView, *, draws: Draws) -> Selection:
        raise AssertionError


def test_only_thresholds_that_reach_the_ratio_are_found(views: list[PatchView]) -> None:
    strategies = {
        "cluster": Cluster(0.3),
        "half": Cluster(0.6),
        "filled": Cluster(0.5, hide=False),
        "fixed": Pgs(0.5),
        "random": Random(0.5),
        "narrow": Narrow(),
    }
    found = find_thresholds(strategies, views, target=0.5, num_seeds=2)
    assert list(found) == ["cluster"]
    assert thresholds_table(found, 0.5).cells()[0][0] == "cluster"
    with pytest.raises(StudyError, match="no strategy has a threshold"):
        find_thresholds({"half": Cluster(0.6)}, views, target=0.5, num_seeds=2)
