"""``masks diagnose --find-threshold``: the threshold it finds gives the ratio that was asked for."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, ClassVar

import pytest
from ruamel.yaml import YAML
from tinyworld import TinyWorld

from pgsbench.config.schema import DataConfig
from pgsbench.data.memory import InMemory
from pgsbench.data.shards import open_pairs, open_reader
from pgsbench.errors import StudyError
from pgsbench.inspection.diagnosis import diagnose
from pgsbench.inspection.thresholds import find_thresholds, thresholds_table, yaml_line
from pgsbench.masking.base import PatchView, Selection, Strategy
from pgsbench.masking.cluster import Cluster
from pgsbench.masking.configure import configure
from pgsbench.masking.guided import Attentive
from pgsbench.masking.noise import Draws
from pgsbench.masking.pgs import Pgs
from pgsbench.masking.random import Random
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


LOOK: dict[str, Any] = {"batch_size": 16, "num_batches": 3, "num_seeds": 2}


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
    clip: Clip, reader: InMemory, strategy: Strategy, target: float
) -> None:
    found, notes = find_thresholds(clip, reader, {"mask": strategy}, target=target, **LOOK)
    assert notes == []
    chosen = found["mask"]
    assert chosen.strategy == replace(strategy, threshold=chosen.strategy.threshold)  # type: ignore
    # Of 96 masks of 16 patches; what the floor of `mask_ratio` adds to the masked share is counted.
    assert target - 0.02 < chosen.effective_ratio <= target
    measured = diagnose(clip, reader, {"mask": chosen.strategy}, **LOOK).numbers["mask"]
    assert measured.effective_ratio.mean() == pytest.approx(chosen.effective_ratio, abs=1e-6)
    lower = replace(chosen.strategy, threshold=chosen.strategy.threshold - 1e-4)  # type: ignore
    above = diagnose(clip, reader, {"mask": lower}, **LOOK).numbers["mask"].effective_ratio.mean()
    assert above > target


def test_only_thresholds_that_matter_are_calibrated_and_what_cannot_be_reached_is_said(
    clip: Clip, reader: InMemory
) -> None:
    strategies = {
        "cluster": Cluster(0.3),
        "half": Cluster(0.6),
        "filled": Cluster(0.5, hide=False),
        "fixed": Pgs(0.5),
        "random": Random(0.5),
        "attentive": Attentive(),
    }
    found, notes = find_thresholds(clip, reader, strategies, target=0.5, **LOOK)
    assert list(found) == ["cluster"]
    (note,) = notes
    assert note.startswith("No threshold: half; its effective ratio lies between 62.5 and 9")
    assert note.endswith("at a mask_ratio of 0.6.")
    assert thresholds_table(found, notes, 0.5).cells()[0][0] == "cluster"
    with pytest.raises(StudyError, match="no strategy has a threshold to find"):
        find_thresholds(clip, reader, {"random": Random(), "fixed": Pgs()}, target=0.5, **LOOK)


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


def test_a_threshold_with_a_range_of_its_own_is_passed_over_with_its_reason(
    clip: Clip, reader: InMemory
) -> None:
    found, notes = find_thresholds(clip, reader, {"narrow": Narrow()}, target=0.5, **LOOK)
    assert found == {}
    assert notes == ["No threshold: narrow; threshold must not be negative."]


@pytest.mark.parametrize(
    ("name", "strategy", "line"),
    [
        ("cluster", Cluster(0.3), "strategy: {name: cluster, mask_ratio: 0.3, threshold: 0.662}"),
        (
            "pgs",
            Pgs(0.3, max_ratio=0.5, threshold=0.1, edge="none", neighbourhood=3),
            "strategy: {name: pgs, mask_ratio: 0.3, max_ratio: 0.5, threshold: 0.1, "
            'edge: "none", neighbourhood: 3}',
        ),
    ],
)
def test_the_line_for_a_study_is_that_strategy(name: str, strategy: Strategy, line: str) -> None:
    assert yaml_line(name, strategy) == line
    given = YAML(typ="safe").load(line)["strategy"]
    assert configure(given.pop("name"), given) == strategy
