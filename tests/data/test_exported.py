"""Sets that clip_benchmark builds itself, written into our layout: a stand-in for its builder, and itself."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from clip_benchmark.datasets import builder
from PIL import Image

from pgsbench.data import exported, public
from pgsbench.data.evalset import read_split
from pgsbench.data.tar import image_of
from pgsbench.errors import DataError
from pgsbench.evaluation import availability
from pgsbench.evaluation.embed import decode
from pgsbench.evaluation.evaluate import evaluate
from pgsbench.evaluation.suite import load_suite
from pgsbench.evaluation.task_data import data_folder
from pgsbench.models import clip


def photo(seed: int, mode: str = "RGB") -> Image.Image:
    pixels = np.random.default_rng(seed).integers(0, 256, (20, 24, 3), dtype=np.uint8)
    return Image.fromarray(pixels).convert(mode)


class Labelled:
    """As torchvision's: by place, with a length and without an iterator."""

    classes = ("cat", "dog", "owl")
    templates = ("a photo of a {c}.", "a {c}")

    def __init__(self, count: int = 7) -> None:
        self.count = count

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> tuple[Image.Image, int]:
        return photo(index, "L" if index == 2 else "RGB"), index % 3


class Stream(torch.utils.data.IterableDataset):
    """As TFDS': gone through once."""

    classes, templates = Labelled.classes, Labelled.templates

    def __iter__(self) -> Any:
        yield from (Labelled()[i] for i in range(7))


class Captioned(Labelled):
    def __getitem__(self, index: int) -> Any:
        return photo(index), [f"picture {index}", f"number {index}"]


class ManyLabels(Labelled):
    def __getitem__(self, index: int) -> Any:
        return photo(index), torch.tensor([1, 0, 1])


@pytest.fixture
def built(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """Calls of clip_benchmark's builder, which a test may answer."""
    calls: list[dict[str, Any]] = []

    def build(name: str, **options: Any) -> Any:
        calls.append({"name": name, **options})
        return {"streamed": Stream, "flickr8k": Captioned, "many": ManyLabels}.get(name, Labelled)()

    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    monkeypatch.setattr(builder, "build_dataset", build)
    return calls


@pytest.mark.parametrize("name", ["fakes", "streamed"])
def test_a_set_is_written_once_and_scored(name: str, built: list[dict[str, Any]], tmp_path: Path) -> None:
    suite = load_suite(f"clip_benchmark:{name}")
    assert availability.fetch_missing(suite, root=tmp_path) == 1
    folder = tmp_path / f"wds_{name}"
    assert [(call["name"], call["split"], call["download"]) for call in built] == [(name, "test", True)]
    assert built[0]["root"] == str(tmp_path / "clip_benchmark" / name)

    samples = list(read_split(folder))
    assert [int(parts["cls"]) for _, parts in samples] == [0, 1, 2, 0, 1, 2, 0]
    for index, (key, parts) in enumerate(samples):
        pixels = np.asarray(decode(key, image_of(parts, key)))
        assert (pixels == np.asarray(Labelled()[index][0].convert("RGB"))).all()
    assert (folder / "classnames.txt").read_text().split() == ["cat", "dog", "owl"]
    manifest = json.loads((folder / exported.MANIFEST).read_text())
    assert manifest["splits"] == {"test": 7}
    assert manifest["libraries"]["clip_benchmark"]

    model = clip.build("tiny-vit", seed=0)
    scores = evaluate(
        model, suite, out=tmp_path / "out", data_folder=lambda data: data_folder(data, root=tmp_path)
    )
    assert {score.n for score in scores.scores} == {7}
    assert availability.fetch_missing(suite, root=tmp_path) == 0  # it is there now
    assert len(built) == 1


def test_captions_become_a_retrieval_set(built: list[dict[str, Any]], tmp_path: Path) -> None:
    (tmp_path / "clip_benchmark/flickr8k").mkdir(parents=True)  # else the Hub would be asked
    suite = load_suite("clip_benchmark:flickr8k")
    folder = exported.export(public.lookup("flickr8k"), ["test"], tmp_path)
    assert built[0]["task"] == "zeroshot_retrieval"
    assert (folder / "dataset_type.txt").read_text().strip() == "retrieval"
    assert [parts["txt"].decode().splitlines() for _, parts in read_split(folder)][3] == [
        "picture 3",
        "number 3",
    ]
    assert availability.availability(suite.tasks[0], root=tmp_path).count == 7


def test_a_copy_on_disk_goes_before_the_hub_even_offline(
    built: list[dict[str, Any]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    (tmp_path / "clip_benchmark/cifar10").mkdir(parents=True)
    suite = load_suite("clip_benchmark:cifar10")
    with pytest.raises(DataError, match="wrong size after fetching: 7"):  # CIFAR-10 has 10,000
        availability.fetch_missing(suite, root=tmp_path)
    assert [(call["name"], call["download"]) for call in built] == [("cifar10", False)]
    assert (tmp_path / "wds_vtab-cifar10/test/nshards.txt").is_file()


def test_what_stands_in_the_way_is_said(
    built: list[dict[str, Any]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def raising(error: BaseException) -> Any:
        def build(*_: Any, **__: Any) -> Any:
            raise error

        return build

    known = public.lookup("mine")
    for error, said in (
        (
            ModuleNotFoundError("no", name="tensorflow_datasets"),
            "tensorflow_datasets, which is not installed",
        ),
        (ValueError("Unsupported dataset: mine."), "clip_benchmark has no set of this name"),
        (AssertionError("Only `test` split"), "cannot build this set: AssertionError: Only `test` split"),
        (SystemExit(1), "cannot build this set: SystemExit"),
        (OSError("Name or service not known"), "cannot build this set: OSError: Name or service not known"),
    ):
        monkeypatch.setattr(builder, "build_dataset", raising(error))
        with pytest.raises(DataError) as caught:
            exported.export(known, ["test"], tmp_path)
        assert said in str(caught.value)
        assert list(tmp_path.iterdir()) == []
    monkeypatch.setattr(builder, "build_dataset", lambda *_, **__: ManyLabels())
    with pytest.raises(DataError, match="neither one class a picture nor captions"):
        exported.export(known, ["test"], tmp_path)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(DataError, match="there is no copy of this set, and HF_HUB_OFFLINE forbids"):
        exported.export(known, ["test"], tmp_path)


def test_clip_benchmarks_own_builder_of_a_folder_of_pictures(tmp_path: Path) -> None:
    known = public.lookup(
        "imagenet1k-unverified"
    )  # torchvision's ImageFolder; class names are clip_benchmark's
    for index, name in enumerate(("n01440764", "n01443537")):
        place = tmp_path / "clip_benchmark/imagenet1k-unverified/val" / name
        place.mkdir(parents=True)
        photo(index).save(place / "a.png")
    folder = exported.export(known, ["test"], tmp_path)
    assert [int(parts["cls"]) for _, parts in read_split(folder)] == [0, 1]
    assert len((folder / "classnames.txt").read_text().splitlines()) == 1000
    assert len((folder / "zeroshot_classification_templates.txt").read_text().splitlines()) == 80
