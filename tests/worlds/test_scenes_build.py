"""The data set on disk: same bytes from the same recipe, readable layouts, nothing half made."""

from __future__ import annotations

import hashlib
import io
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pgsbench.data import evalset, store
from pgsbench.data.tar import image_of, read_tar
from pgsbench.errors import DataError
from pgsbench.worlds import scenes
from pgsbench.worlds.scenes import build
from pgsbench.worlds.scenes.shifts import SHIFTS
from pgsbench.worlds.scenes.vocabulary import BACKGROUNDS, COLOURS, COUNTS, SHAPES

TINY = scenes.Recipe(
    num_train=40, train_shard=16, num_single=144, num_shifted=24, num_retrieval=60, num_pairs=8
)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return scenes.make(tmp_path_factory.mktemp("data"), recipe=TINY)


def pixels(data: bytes) -> np.ndarray:  # type: ignore[type-arg]
    with Image.open(io.BytesIO(data)) as image:
        return np.asarray(image)


def test_same_recipe_same_bytes(made: Path, tmp_path: Path) -> None:
    again = scenes.make(tmp_path, recipe=TINY)
    assert again.name == made.name == f"scenes-{scenes.identity(TINY)}"
    assert store.read_manifest(again).sha256 == store.read_manifest(made).sha256
    assert store.verify(made) == []


def test_another_seed_is_another_data_set(made: Path, tmp_path: Path) -> None:
    other = scenes.make(tmp_path, recipe=replace(TINY, seed=1))
    assert other.name != made.name
    assert store.read_manifest(other).fingerprint != store.read_manifest(made).fingerprint


def test_bytes_do_not_depend_on_the_processes(
    made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(build, "SMALL", 1)
    monkeypatch.setattr(build.os, "cpu_count", lambda: 2)
    assert store.read_manifest(scenes.make(tmp_path, recipe=TINY)).sha256 == store.read_manifest(made).sha256


def test_an_existing_data_set_is_reused(made: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(build, "_run", lambda *_, **__: pytest.fail("made again"))
    assert scenes.make(made.parent, recipe=TINY) == made


def test_interrupted_making_leaves_nothing(tmp_path: Path) -> None:
    def interrupt(what: str, done: int, total: int) -> None:
        if done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        scenes.make(tmp_path, recipe=TINY, progress=interrupt)
    assert list(tmp_path.iterdir()) == []


def test_progress_reaches_its_total(tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    scenes.make(tmp_path, recipe=TINY, progress=lambda _, done, total: seen.append((done, total)))
    assert [done for done, _ in seen] == list(range(1, seen[-1][1] + 1))


def test_training_shards(made: Path) -> None:
    shards = sorted(made.glob(store.read_manifest(made).train))
    assert [shard.name for shard in shards] == ["00000.tar", "00001.tar", "00002.tar"]
    samples = [sample for shard in shards for sample in read_tar(shard)]
    assert len({key for key, _ in samples}) == TINY.num_train
    for _, parts in samples:
        assert set(parts) == {"jpg", "txt", "objects.png"}
        assert pixels(parts["jpg"]).shape == (64, 64, 3)
        ids = pixels(parts["objects.png"])
        assert ids.shape == (64, 64)
        assert ids.dtype == np.uint8
        assert 1 <= ids.max() <= 3
        assert parts["txt"].decode().strip()


CLASSNAMES = {"shape": SHAPES, "colour": COLOURS, "background": BACKGROUNDS, "count": COUNTS}
TASKS = {"shape", "colour", "background", "count", "retrieval", "sugarcrepe"} | {
    f"{name}-{task}"
    for name, shift in SHIFTS.items()
    for task in ("shape", "colour")
    if task == "shape" or shift.keeps_colour
}


def test_the_manifest_lists_every_set(made: Path) -> None:
    assert set(store.read_manifest(made).evaluations) == TASKS
    assert {folder.name for folder in (made / "eval").iterdir()} == TASKS


@pytest.mark.parametrize("name", sorted(TASKS - {"retrieval", "sugarcrepe"}))
def test_classification_sets_are_readable_and_balanced(made: Path, name: str) -> None:
    folder = made / "eval" / name
    classnames = evalset.read_lines(folder / "classnames.txt")
    assert tuple(classnames) == CLASSNAMES[name.rpartition("-")[2]]
    assert all("{c}" in line for line in evalset.read_lines(folder / "zeroshot_classification_templates.txt"))
    labels = []
    for _, parts in evalset.read_split(folder):
        assert pixels(image_of(parts, name).data).shape == (64, 64, 3)
        assert pixels(parts["objects.png"]).max() >= 1
        labels.append(int(parts["cls"]))
    assert len(labels) == store.read_manifest(made).evaluations[name]
    if "-" not in name:
        counts = np.bincount(labels, minlength=len(classnames))
        assert counts.min() == counts.max()


def test_count_labels_agree_with_the_maps(made: Path) -> None:
    for _, parts in evalset.read_split(made / "eval" / "count"):
        assert pixels(parts["objects.png"]).max() == int(parts["cls"]) + 1


def test_retrieval_has_five_captions_each(made: Path) -> None:
    for _, parts in evalset.read_split(made / "eval" / "retrieval"):
        assert len(parts["txt"].decode().split("\n")) == 5


def test_sets_share_pictures_byte_for_byte(made: Path) -> None:
    def digests(name: str) -> list[str]:
        return [hashlib.sha256(p["jpg"]).hexdigest() for _, p in evalset.read_split(made / "eval" / name)]

    assert digests("shape") == digests("colour") == digests("background")
    assert digests("noise-shape") == digests("noise-colour")
    assert digests("count") == digests("retrieval")
    pairs = {
        hashlib.sha256(path.read_bytes()).hexdigest()
        for path in (made / "eval" / "sugarcrepe" / evalset.PAIRS_IMAGE_FOLDER).iterdir()
    }
    assert pairs <= set(digests("retrieval"))


def test_pairs_name_pictures_that_exist(made: Path) -> None:
    folder = made / "eval" / "sugarcrepe"
    for path in folder.glob("*.json"):
        found = evalset.read_pairs(folder, path.stem)
        assert len(found) == TINY.num_pairs
        assert all((folder / evalset.PAIRS_IMAGE_FOLDER / pair.image_key).is_file() for pair in found)


def test_a_pool_that_fails_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(build, "write_retrieval", fail)
    with pytest.raises(OSError, match="disk full"):
        scenes.make(tmp_path, recipe=TINY)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("change", "where"),
    [
        ({"num_train": 0}, "num_train"),
        ({"image_size": 8}, "image_size"),
        ({"jpeg_quality": 99}, "jpeg_quality"),
    ],
)
def test_impossible_recipes_are_refused(change: dict[str, int], where: str) -> None:
    with pytest.raises(DataError, match=where):
        scenes.Recipe(**change)


def test_the_identity_needs_no_heavy_import() -> None:
    code = "import sys; from pgsbench.worlds import scenes; scenes.identity(); print('numpy' in sys.modules)"
    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert printed.strip() == "False"
