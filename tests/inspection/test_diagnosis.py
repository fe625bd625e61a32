"""What ``masks diagnose`` measures is what training will do, and each number is what its name says."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pandas as pd
import pytest
import torch
from tinyworld import TinyWorld

from pgsbench.config.schema import DataConfig
from pgsbench.data.memory import InMemory
from pgsbench.data.shards import open_pairs, open_reader
from pgsbench.data.transforms import normalise
from pgsbench.errors import StudyError
from pgsbench.inspection.diagnosis import Diagnosis, diagnose, find_thresholds, thresholds_table
from pgsbench.inspection.diagnosis_report import agreement_table, diagnosis_table, write
from pgsbench.inspection.first_masks import draw, draw_stages, first_view, usable
from pgsbench.masking.base import PatchView, Selection, Strategy
from pgsbench.masking.cluster import Cluster
from pgsbench.masking.guided import Oracle
from pgsbench.masking.noise import Draws
from pgsbench.masking.pgs import Pgs
from pgsbench.masking.random import Flip, NoMask, Random
from pgsbench.models.clip import Clip, build
from pgsbench.models.masked_tower import attach


@pytest.fixture(scope="module")
def clip() -> Clip:
    return build("tiny-vit", seed=0)


@pytest.fixture(scope="module")
def reader(clip: Clip, tiny: TinyWorld) -> InMemory:
    data = DataConfig(train=str(tiny.shards), augment=None)
    opened = open_reader(open_pairs(data), data, image_size=clip.image_size, tokenize=clip.tokenize)
    assert isinstance(opened, InMemory)
    return opened


def views_of(clip: Clip, reader: InMemory) -> list[PatchView]:
    batches = islice(reader.batches(seed=0, batch_size=16), 3)
    return [first_view(clip, batch.images, batch.objects) for batch in batches]


@pytest.fixture(scope="module")
def views(clip: Clip, reader: InMemory) -> list[PatchView]:
    return views_of(clip, reader)


@pytest.fixture(scope="module")
def found(views: list[PatchView]) -> Diagnosis:
    masks = {"none": NoMask(), "random": Random(), "flip": Flip(), "oracle": Oracle(), "pgs": Pgs()}
    return diagnose({**masks, "cluster": Cluster(threshold=0.05)}, views, num_seeds=2)


@pytest.mark.parametrize("strategy", [Pgs(), Random(), Cluster(), Oracle()])
def test_masks_are_those_that_training_begins_with(clip: Clip, reader: InMemory, strategy: Strategy) -> None:
    batch = next(reader.batches(seed=5, batch_size=8))
    masking = attach(clip.model, strategy)
    clip.model.train()
    masking.begin_step(seed=5, step=3, progress=0.0, objects=batch.objects)
    clip.model.encode_image(normalise(batch.images, clip.mean, clip.std))  # type: ignore[operator]
    trained = masking.shown(8)
    masking.detach()
    drawn = draw(strategy, first_view(clip, batch.images, batch.objects), seed=5, step=3)
    assert torch.equal(drawn.shown(16), trained)


def test_stages_are_those_of_the_drawn_mask(clip: Clip, reader: InMemory) -> None:
    view = first_view(clip, next(reader.batches(seed=0, batch_size=8)).images, None)
    stages = draw_stages(Pgs(0.75), view, seed=1, step=2)
    shown = draw(Pgs(0.75), view, seed=1, step=2).shown(16)
    assert not shown.gather(1, stages.candidates).any()  # candidates are the first to be dropped


def test_numbers_of_masks_that_are_known_beforehand(found: Diagnosis) -> None:
    none, random, oracle = (found.numbers[name] for name in ("none", "random", "oracle"))
    assert none.values["effective_ratio"] == 0
    assert none.values["insides_kept"] == none.values["top_edges"] == none.values["seed_iou"] == 1
    assert (random.effective_ratio == 0.5).all()
    assert random.effective_ratio.shape == (2 * 48,)
    assert random.keep_rate.mean() == pytest.approx(0.5)
    assert oracle.values["objects_nearly_gone"] == 0
    assert oracle.values["objects_kept"] > random.values["objects_kept"] + 0.2
    assert "otn_residual" in found.numbers["pgs"].values
    assert "otn_residual" not in random.values
    cluster = found.numbers["cluster"].effective_ratio
    assert cluster.std() > 0.05  # its ratio differs from picture to picture


def test_agreement_is_between_seeds_so_that_shared_random_numbers_do_not_count(found: Diagnosis) -> None:
    names = list(found.numbers)
    flip, random = names.index("flip"), names.index("random")
    assert np.allclose(found.agreement, found.agreement.T)
    assert found.agreement[flip, random] == pytest.approx(found.agreement[random, random])
    assert found.agreement[random, random] == pytest.approx(1 / 3, abs=0.06)
    assert found.agreement[0, random] == pytest.approx(0.5)


def test_what_cannot_run_is_left_out_and_said(clip: Clip, reader: InMemory) -> None:
    left, notes = usable({"oracle": Oracle(), "random": Random()}, has_objects=False)
    assert list(left) == ["random"]
    assert notes == ["Left out: oracle; it needs object maps, which these data lack."]
    blind = diagnose(left, views_of(clip, replace(reader, objects=None)), num_seeds=2)
    assert "insides" not in diagnosis_table(blind, "blind").names
    with pytest.raises(StudyError, match="no strategy can run"):
        usable({"oracle": Oracle()}, has_objects=False)


def test_tables_and_files_say_the_same(found: Diagnosis, tmp_path: Path) -> None:
    table = diagnosis_table(found, "tiny")
    assert [row[0] for row in table.cells()] == list(found.numbers)
    assert table.cells()[0][1] == "0.0"
    assert len(agreement_table(found).cells()) == 6
    paths = {path.name: path for path in write(found, tmp_path)}
    assert set(paths) == {"masks.csv", "agreement.csv", "masks.png"}
    masks = pd.read_csv(paths["masks.csv"], index_col="strategy", keep_default_na=False)
    assert masks.loc["random", "effective_ratio"] == 0.5
    agreement = pd.read_csv(paths["agreement.csv"], index_col="strategy", keep_default_na=False)
    assert np.allclose(agreement.to_numpy(), found.agreement)


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
