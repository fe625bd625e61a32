"""The data set on disk: same bytes from the same recipe, readable layouts, nothing half made."""

from __future__ import annotations

import hashlib
import io
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from pgsbench.data import evalset, store
from pgsbench.data.tar import image_of, read_tar
from pgsbench.errors import DataError
from pgsbench.worlds import scenes
from pgsbench.worlds.scenes import build
from pgsbench.worlds.scenes.build import CLASSES

TINY = scenes.Recipe(
    num_train=40, train_shard=16, num_single=144, num_shifted=24, num_retrieval=60, num_pairs=8
)


def make(root: Path, recipe: scenes.Recipe = TINY, **options: Any) -> Path:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PGSBENCH_DATA", str(root))
        return store.made("scenes", recipe, **options)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make(tmp_path_factory.mktemp("data"))


def pixels(data: bytes) -> np.ndarray:  # type: ignore[type-arg]
    with Image.open(io.BytesIO(data)) as image:
        return np.asarray(image)


def test_bytes_follow_from_the_recipe_and_not_from_the_processes(
    made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = make(tmp_path, replace(TINY, seed=1))
    assert store.read_manifest(other).fingerprint != store.read_manifest(made).fingerprint
    monkeypatch.setattr(build, "SMALL", 1)
    monkeypatch.setattr(build.os, "cpu_count", lambda: 2)
    again = make(tmp_path)
    assert again.name == made.name == f"scenes-{scenes.identity(TINY)}"
    assert store.read_manifest(again).sha256 == store.read_manifest(made).sha256


def test_words_are_those_of_this_version(made: Path) -> None:
    """Another digest needs another `Recipe.version`; that of pictures would depend on the processor."""
    files = [*sorted(made.glob("train/*.tar")), *sorted(made.glob("eval/retrieval/test/*.tar"))]
    texts = [parts["txt"] for file in files for _, parts in read_tar(file)]
    texts += [path.read_bytes() for path in sorted(made.glob("eval/sugarcrepe/*.json"))]
    assert hashlib.sha256(b"|".join(texts)).hexdigest()[:16] == "41111b7d916c1192"


def test_a_data_set_is_made_once_and_a_changed_file_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PGSBENCH_DATA", str(tmp_path))
    monkeypatch.setattr(scenes, "recipe_with", lambda _: TINY)
    with pytest.raises(DataError, match="not made yet"):
        store.check("scenes")
    folder = store.ensure("scenes")
    monkeypatch.setattr(build, "write", lambda *_, **__: pytest.fail("made again"))
    assert store.check("scenes") == store.ensure("scenes") == folder
    (folder / "train" / "00001.tar").write_bytes(b"other")
    with pytest.raises(DataError, match=r"1 files are missing or not what they were.*train/00001\.tar"):
        store.check("scenes")


def test_interrupted_making_leaves_nothing(tmp_path: Path) -> None:
    def interrupt(what: str, done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        make(tmp_path, progress=interrupt)
    with pytest.raises(DataError, match="--from: scenes are generated"):
        make(tmp_path, source=tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_training_shards(made: Path) -> None:
    shards = sorted(made.glob(store.read_manifest(made).train))
    assert [shard.name for shard in shards] == ["00000.tar", "00001.tar", "00002.tar"]
    samples = [sample for shard in shards for sample in read_tar(shard)]
    assert len({key for key, _ in samples}) == TINY.num_train
    for _, parts in samples:
        assert set(parts) == {"jpg", "txt", "objects.png"}
        assert pixels(parts["jpg"]).shape == (64, 64, 3)
        ids = pixels(parts["objects.png"])
        assert (ids.shape, ids.dtype) == ((64, 64), np.uint8)
        assert 1 <= ids.max() <= 3
        assert parts["txt"].decode().strip()


def test_classification_sets_are_readable_and_balanced(made: Path) -> None:
    sizes = store.read_manifest(made).evaluations
    assert set(sizes) == {path.name for path in made.glob("eval/*")}
    assert len(sizes) == 23  # 6 of unshifted pictures, 17 of shifted ones: sketches have no colour
    for name in sizes.keys() - {"retrieval", "sugarcrepe"}:
        folder = made / "eval" / name
        classnames = evalset.read_lines(folder / "classnames.txt")
        assert tuple(classnames) == CLASSES[name.rpartition("-")[2]]
        labels = []
        for _, parts in evalset.read_split(folder):
            assert pixels(image_of(parts, name).data).shape == (64, 64, 3)
            labels.append(int(parts["cls"]))
            objects = pixels(parts["objects.png"]).max()
            assert objects == labels[-1] + 1 if name == "count" else objects == 1
        assert len(labels) == sizes[name]
        if "-" not in name:
            assert len(set(np.bincount(labels, minlength=len(classnames)))) == 1


def test_sets_share_pictures_byte_for_byte(made: Path) -> None:
    def digests(name: str) -> list[str]:
        return [hashlib.sha256(p["jpg"]).hexdigest() for _, p in evalset.read_split(made / "eval" / name)]

    assert digests("shape") == digests("colour") == digests("background")
    assert digests("noise-shape") == digests("noise-colour")
    assert digests("count") == digests("retrieval")
    pictures = made / "eval" / "sugarcrepe" / evalset.PAIRS_IMAGE_FOLDER
    pairs = {hashlib.sha256(path.read_bytes()).hexdigest() for path in pictures.iterdir()}
    assert pairs <= set(digests("retrieval"))


def test_retrieval_has_five_captions_each_and_pairs_name_pictures(made: Path) -> None:
    for _, parts in evalset.read_split(made / "eval" / "retrieval"):
        assert len(parts["txt"].decode().split("\n")) == 5
    folder = made / "eval" / "sugarcrepe"
    for path in folder.glob("*.json"):
        found = evalset.read_pairs(folder, path.stem)
        assert len(found) == TINY.num_pairs
        assert all((folder / evalset.PAIRS_IMAGE_FOLDER / pair.image_key).is_file() for pair in found)
