"""What ``masks diagnose`` measures is what training will do, and each number is what its name says."""

from __future__ import annotations

from dataclasses import replace
from itertools import islice
from pathlib import Path

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
from pgsbench.inspection.diagnosis import Diagnosis, diagnose
from pgsbench.inspection.diagnosis_files import diagnosis_figure, write
from pgsbench.inspection.diagnosis_report import agreement_table, diagnosis_table
from pgsbench.inspection.first_masks import draw, draw_stages, first_view, usable
from pgsbench.masking.base import Strategy
from pgsbench.masking.cluster import Cluster
from pgsbench.masking.guided import Oracle
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


def look(clip: Clip, reader: InMemory, **strategies: Strategy) -> Diagnosis:
    batches = islice(reader.batches(seed=0, batch_size=16), 3)
    views = [first_view(clip, batch.images, batch.objects) for batch in batches]
    return diagnose(strategies, views, num_seeds=2)


@pytest.fixture(scope="module")
def found(clip: Clip, reader: InMemory) -> Diagnosis:
    return look(
        clip,
        reader,
        none=NoMask(),
        random=Random(),
        flip=Flip(),
        oracle=Oracle(),
        pgs=Pgs(),
        cluster=Cluster(threshold=0.05),
    )


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
    assert "insides" not in diagnosis_table(look(clip, replace(reader, objects=None), **left), "blind").names
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


def test_the_figure_has_a_column_for_each_strategy(found: Diagnosis) -> None:
    titles = [axes.get_title(loc="left") for axes in diagnosis_figure(found).axes]
    assert titles[:6] == [
        "none\n0 % masked",
        "random\n50 % masked",
        "flip\n50 % masked",
        "oracle\n50 % masked",
        "pgs\n50 % masked",
        f"cluster\n{100 * found.numbers['cluster'].effective_ratio.mean():.0f} % masked",
    ]
