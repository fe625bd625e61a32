"""Linear probes against scikit-learn, and what a probe must never learn from."""

from __future__ import annotations

import math
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from evalsets import picture
from sklearn.linear_model import LogisticRegression

from pgsbench.data import evalset
from pgsbench.data.tar import image_of, write_tar
from pgsbench.errors import DataError
from pgsbench.evaluation.embed import Encoder
from pgsbench.evaluation.protocols.linear_probe import LinearProbe, fit, search_l2

CLASSES = ["red", "green", "blue"]
NUM_TRAIN, NUM_TEST = 60, 30


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Coarse random blocks: half of the pictures carry their class in a stripe, so a probe is neither blind
    nor perfect."""
    path = tmp_path_factory.mktemp("probe") / "set"
    for split, start, count in (("train", 0, NUM_TRAIN), ("test", 1000, NUM_TEST)):
        evalset.write_classification(
            path,
            [(f"{i:03}", picture(start + i, tint=i % 3 if i % 2 else None), i % 3) for i in range(count)],
            classnames=CLASSES,
            templates=["a {c} picture"],
            split=split,
        )
    return path


def embedded(folder: Path, split: str, encode: Encoder) -> tuple[np.ndarray, np.ndarray]:
    samples = list(evalset.read_split(folder, split))
    images = encode.images((key, image_of(parts, key)) for key, parts in samples)
    return images.numpy(), np.array([int(parts["cls"]) for _, parts in samples])


def drawn(n: int = 200, d: int = 6, classes: int = 4) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    centres = torch.randn(classes, d, generator=generator)
    labels = torch.arange(n) % classes
    return centres[labels] + torch.randn(n, d, generator=generator), labels


@pytest.mark.parametrize("l2", [1e-2, 1.0, 1e5])
def test_a_fit_is_scikit_learns(l2: float, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pgsbench.evaluation.protocols.linear_probe.CHUNK", 300)  # several pieces of samples
    features, labels = drawn()
    ours = fit(features, labels, 4, l2)
    theirs = LogisticRegression(C=1 / l2, tol=1e-8, max_iter=5000).fit(
        features.double().numpy(), labels.numpy()
    )
    np.testing.assert_allclose(ours.weight.numpy(), theirs.coef_, rtol=1e-3, atol=1e-5)
    bias = ours.bias.numpy() - ours.bias.numpy().mean()  # free up to a constant
    np.testing.assert_allclose(bias, theirs.intercept_ - theirs.intercept_.mean(), atol=1e-3)


@pytest.mark.parametrize("peak", [-48, -13, 5, 48])
def test_the_search_finds_a_peak_and_looks_seldom(peak: int) -> None:
    looks: list[float] = []

    def quality(l2: float) -> tuple[float, ...]:
        looks.append(l2)
        return (-abs(8 * math.log10(l2) - peak),)

    assert search_l2(quality) == pytest.approx(10 ** (peak / 8))
    assert len(looks) == len(set(looks)) <= 7 + 2 * 4
    assert min(looks) >= 1e-6 * 0.999
    assert max(looks) <= 1e6 * 1.001


def test_a_probe_is_scikit_learns_on_the_same_embeddings(folder: Path, encode: Encoder) -> None:
    found = {m.metric: m for m in LinearProbe(l2=0.1).measure(folder, encode)}
    theirs = LogisticRegression(C=10, tol=1e-8, max_iter=5000).fit(*embedded(folder, "train", encode))
    images, labels = embedded(folder, "test", encode)
    right = theirs.predict(images) == labels
    assert list(found["lp_acc1"].correct) == list(right)
    assert 0.4 < found["lp_acc1"].value < 1
    assert found["lp_mean_per_class_recall"].value == pytest.approx(
        np.mean([right[labels == c].mean() for c in range(3)])
    )
    assert found["lp_acc1"].details == f"L2 strength 0.1, {NUM_TRAIN} training pictures"
    assert found["lp_acc1"].notes == ()
    assert found["lp_acc1"].chance == pytest.approx(1 / 3)
    assert set(found) == {"lp_acc1", "lp_mean_per_class_recall"}  # three classes have no acc5


def test_the_strength_is_chosen_on_held_out_pictures_and_then_all_are_trained_on(
    folder: Path, encode: Encoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in (("STEPS_A_DECADE", 2), ("LOWEST", -1), ("HIGHEST", 1)):  # a coarse search
        monkeypatch.setattr(f"pgsbench.evaluation.protocols.linear_probe.{name}", value)
    sizes: list[int] = []

    def watched(features: torch.Tensor, *more: object, **named: object) -> object:
        sizes.append(len(features))
        return fit(features, *more, **named)  # type: ignore[arg-type]

    monkeypatch.setattr("pgsbench.evaluation.protocols.linear_probe.fit", watched)
    list(LinearProbe().measure(folder, encode))
    assert set(sizes[:-1]) == {NUM_TRAIN - 6}  # two of the twenty of each class
    assert sizes[-1] == NUM_TRAIN


def test_a_split_that_is_not_there_and_too_few_pictures_are_refused(
    folder: Path, encode: Encoder, tmp_path: Path
) -> None:
    with pytest.raises(DataError, match=r"empty/nshards.txt: the evaluation set lacks this file"):
        list(LinearProbe(train="empty").measure(folder, encode))
    own = shutil.copytree(folder, tmp_path / "set")
    samples = {parts["cls"]: (key, parts) for key, parts in evalset.read_split(folder, "train")}
    write_tar(own / "train/0.tar", samples.values())  # one of each class
    with pytest.raises(DataError, match="no training pictures are left to choose the L2 strength on"):
        list(LinearProbe().measure(own, encode))


def test_pictures_of_both_splits_are_marked(folder: Path, encode: Encoder, tmp_path: Path) -> None:
    own = tmp_path / "set"
    shutil.copytree(folder, own)
    shutil.rmtree(own / "train")
    shutil.copytree(own / "test", own / "train")
    found = next(LinearProbe(l2=1.0).measure(own, encode))
    assert found.notes == (f"{NUM_TEST} of {NUM_TEST} test pictures are training pictures, too",)
    (own / "again").symlink_to("test")
    with pytest.raises(DataError, match="both splits are the same folder"):
        next(LinearProbe(train="again").measure(own, encode))
