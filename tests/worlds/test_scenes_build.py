"""The data set on disk: same bytes from the same recipe, readable layouts, nothing half made."""

from __future__ import annotations

import hashlib
import io
import subprocess
import sys
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
from pgsbench.worlds.scenes.build import CLASSES, SHIFTS

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
    monkeypatch.setattr(build, "SMALL", 1)
    monkeypatch.setattr(build.os, "cpu_count", lambda: 2)
    again = make(tmp_path)
    assert again.name == made.name == f"scenes-{scenes.identity(TINY)}"
    assert store.read_manifest(again).sha256 == store.read_manifest(made).sha256


def test_another_seed_is_another_data_set(made: Path, tmp_path: Path) -> None:
    other = make(tmp_path, replace(TINY, seed=1))
    assert other.name != made.name
    assert store.read_manifest(other).fingerprint != store.read_manifest(made).fingerprint


def test_an_existing_data_set_is_reused(made: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(build, "write", lambda *_, **__: pytest.fail("made again"))
    assert make(made.parent) == made


def test_a_changed_file_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PGSBENCH_DATA", str(tmp_path))
    monkeypatch.setattr(scenes, "recipe_with", lambda _: TINY)
    with pytest.raises(DataError, match="not made yet"):
        store.check("scenes")
    folder = make(tmp_path)
    assert store.check("scenes") == folder
    (folder / "train" / "00001.tar").write_bytes(b"other")
    with pytest.raises(DataError, match=r"1 files are missing or not what they were.*train/00001\.tar"):
        store.check("scenes")


def test_interrupted_making_leaves_nothing(tmp_path: Path) -> None:
    def interrupt(what: str, done: int, total: int) -> None:
        if done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        make(tmp_path, progress=interrupt)
    assert list(tmp_path.iterdir()) == []


def test_a_generated_world_refuses_a_source(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="--from: scenes are generated"):
        make(tmp_path / "data", source=tmp_path)


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


TASKS = {"shape", "colour", "background", "count", "retrieval", "sugarcrepe"} | {
    f"{name}-{task}"
    for name, shift in SHIFTS.items()
    for task in ("shape", "colour")
    if task == "shape" or shift.keeps_colour
}


def test_classification_sets_are_readable_and_balanced(made: Path) -> None:
    assert set(store.read_manifest(made).evaluations) == TASKS == {path.name for path in made.glob("eval/*")}
    for name in TASKS - {"retrieval", "sugarcrepe"}:
        folder = made / "eval" / name
        classnames = evalset.read_lines(folder / "classnames.txt")
        assert tuple(classnames) == CLASSES[name.rpartition("-")[2]]
        labels = []
        for _, parts in evalset.read_split(folder):
            assert pixels(image_of(parts, name).data).shape == (64, 64, 3)
            labels.append(int(parts["cls"]))
            objects = pixels(parts["objects.png"]).max()
            assert objects == labels[-1] + 1 if name == "count" else objects == 1
        assert len(labels) == store.read_manifest(made).evaluations[name]
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


def test_the_identity_needs_no_heavy_import() -> None:
    code = "import sys; from pgsbench.data import store; print(store.find('scenes'), 'numpy' in sys.modules)"
    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert printed.split()[-1] == "False"
