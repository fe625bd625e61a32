"""A small model and small data sets of every layout, written by `pgsbench.data.evalset`."""

from __future__ import annotations

import copy
from pathlib import Path

import evalsets
import pytest
import torch
from evalsets import picture

from pgsbench.data import evalset
from pgsbench.data.evalset import Pair
from pgsbench.evaluation.embed import Encoder
from pgsbench.models import clip
from pgsbench.models.clip import Clip

NUM_IMAGES = 60
CLASSES = ["red circle", "green square", "blue star", "tall tree", "small dog", "old car"]
TEMPLATES = ["a photo of a {c}.", "a drawing of a {c}.", "the {c}"]


@pytest.fixture(scope="session")
def tiny() -> Clip:
    """A tower of two layers; weights are spread so that different inputs get clearly different outputs."""
    built = clip.build("tiny-vit", seed=3)
    with torch.no_grad():
        for parameter in built.model.parameters():
            if parameter.ndim > 1:
                parameter.mul_(3.0)
    return built


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder of data sets, and leave to use the network (of which there is none in tests)."""
    monkeypatch.setenv("PGSBENCH_DATA", str(tmp_path / "root"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "0")
    return tmp_path / "root"


@pytest.fixture
def constant(tiny: Clip) -> Clip:
    """A model that answers every picture and every text with the same vector."""
    model = copy.deepcopy(tiny.model)
    fixed = torch.zeros(1, 32).index_fill_(1, torch.tensor([0]), 1.0)
    model.encode_image = lambda batch: fixed.expand(len(batch), -1)
    model.encode_text = lambda batch: fixed.expand(len(batch), -1)
    return Clip(model, tiny.tokenize, tiny.model_cfg, tiny.preprocess_cfg)


@pytest.fixture
def diverged(tiny: Clip) -> Clip:
    model = copy.deepcopy(tiny.model)
    with torch.no_grad():
        model.visual.proj.fill_(torch.nan)
    return Clip(model, tiny.tokenize, tiny.model_cfg, tiny.preprocess_cfg)


@pytest.fixture
def encode(tiny: Clip) -> Encoder:
    return Encoder(tiny, batch_size=16)


@pytest.fixture
def suite(data: Path, tmp_path: Path) -> Path:
    return evalsets.write_four(data, tmp_path)


@pytest.fixture(scope="session")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """``classes``, ``two`` (two classes), ``retrieval`` and ``pairs`` on the same pictures, in two sizes."""
    root = tmp_path_factory.mktemp("evalsets")
    sizes = [(32, 32), (48, 40)]
    images = [picture(i, sizes[i % 7 == 0], ("png", "jpg", "webp")[i % 3]) for i in range(NUM_IMAGES)]
    labels = [i * i % 6 for i in range(NUM_IMAGES)]  # unequal classes: 0, 1, 3, 4 only
    evalset.write_classification(
        root / "classes",
        [(f"{i:04}", image, labels[i]) for i, image in enumerate(images)],
        classnames=CLASSES,
        templates=TEMPLATES,
        samples_per_shard=25,
    )
    evalset.write_classification(
        root / "two",
        [(f"{i:04}", image, i % 2) for i, image in enumerate(images)],
        classnames=CLASSES[:2],
        templates=TEMPLATES[:1],
    )
    captions = [
        [f"{CLASSES[i % 6]} number {i} {word}" for word in "abcde"[: 1 + i % 5]] for i in range(NUM_IMAGES)
    ]
    evalset.write_retrieval(
        root / "retrieval",
        [(f"{i:04}", image, captions[i]) for i, image in enumerate(images)],
        samples_per_shard=25,
    )
    pairs = [
        Pair(f"{i % NUM_IMAGES:04}", f"a {CLASSES[i % 6]} {i}", f"a {CLASSES[i % 5]} {i + 1}")
        for i in range(90)
    ]
    evalset.write_pairs(
        root / "pairs",
        {f"{i:04}": image for i, image in enumerate(images)},
        {"swap_att": pairs[:50], "add_obj": pairs[50:]},
    )
    return root
