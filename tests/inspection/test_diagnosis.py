"""What ``masks diagnose`` measures is what training will do, and each number is what its name says."""

from __future__ import annotations

from dataclasses import replace
from itertools import islice

import pytest
from tinyworld import TinyWorld

from pgsbench.config.data import DataConfig
from pgsbench.data.memory import InMemory
from pgsbench.data.shards import open_pairs, open_reader
from pgsbench.errors import StudyError
from pgsbench.inspection.diagnosis import Numbers, diagnose, diagnosis_table
from pgsbench.inspection.inspected import first_view, usable
from pgsbench.masking.base import PatchView
from pgsbench.masking.guided import Cluster, Oracle
from pgsbench.masking.pgs import Pgs
from pgsbench.masking.random import Flip, NoMask, Random
from pgsbench.models.clip import Clip, build


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
def found(views: list[PatchView]) -> dict[str, Numbers]:
    masks = {"none": NoMask(), "random": Random(), "flip": Flip(), "oracle": Oracle(), "pgs": Pgs()}
    return diagnose({**masks, "cluster": Cluster(threshold=0.05)}, views, num_seeds=2)


def test_numbers_of_masks_that_are_known_beforehand(found: dict[str, Numbers]) -> None:
    none, random, oracle = (found[name] for name in ("none", "random", "oracle"))
    assert none["effective_ratio"] == 0
    assert none["insides_kept"] == none["top_edges"] == none["seed_iou"] == 1
    assert random["ratio_p5"] == random["effective_ratio"] == random["ratio_p95"] == 0.5
    assert random["seed_iou"] == pytest.approx(1 / 3, abs=0.06)
    assert oracle["objects_nearly_gone"] == 0
    assert oracle["objects_kept"] > random["objects_kept"] + 0.2
    assert "otn_residual" in found["pgs"]
    assert "otn_residual" not in random
    assert found["cluster"]["ratio_p95"] > found["cluster"]["ratio_p5"] + 0.05  # it differs between pictures


def test_what_cannot_run_is_left_out_and_said(clip: Clip, reader: InMemory) -> None:
    left, notes = usable({"oracle": Oracle(), "random": Random()}, has_objects=False)
    assert list(left) == ["random"]
    assert notes == ["Left out: oracle; it needs object maps, which these data lack."]
    blind = diagnose(left, views_of(clip, replace(reader, objects=None)), num_seeds=2)
    assert "insides" not in diagnosis_table(blind, "blind").names
    with pytest.raises(StudyError, match="no strategy can run"):
        usable({"oracle": Oracle()}, has_objects=False)


def test_the_table_has_a_row_for_each_mask_in_percent(found: dict[str, Numbers]) -> None:
    table = diagnosis_table(found, "tiny")
    assert [row[0] for row in table.cells()] == list(found)
    assert table.cells()[0][1] == "0.0"
