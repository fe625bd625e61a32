"""Tiny-ImageNet from a small archive of the same layout: photos keep their bytes, mistakes are told."""

from __future__ import annotations

import io
import shutil
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pgsbench.data import evalset, store
from pgsbench.data.tar import read_tar
from pgsbench.errors import DataError
from pgsbench.evaluation.suite import load_suite
from pgsbench.worlds import tiny_imagenet
from pgsbench.worlds.tiny_imagenet import TEMPLATES, build, caption

#: The ids of four classes in no order, and their curated names.
NAMES = {
    "n02056570": "king penguin",
    "n03126707": "construction crane",
    "n02814860": "lighthouse",
    "n09428293": "beach",
}
TINY = tiny_imagenet.Recipe(num_classes=4, per_class=3, num_val=8, train_shard=5)


def make(root: Path, source: Path | None = None, recipe: tiny_imagenet.Recipe = TINY) -> Path:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PGSBENCH_DATA", str(root))
        return store.made("tiny-imagenet", recipe, source=source)


def jpeg(seed: int, *, grey: bool = False) -> bytes:
    pixels = np.random.default_rng(seed).integers(0, 256, (64, 64) if grey else (64, 64, 3), np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG")
    return file.getvalue()


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    top = tmp_path_factory.mktemp("archive") / "tiny-imagenet-200"
    (top / "val" / "images").mkdir(parents=True)
    (top / "wnids.txt").write_text("".join(f"{wnid}\n" for wnid in reversed(NAMES)))
    for number, wnid in enumerate(NAMES):
        folder = top / "train" / wnid / "images"
        folder.mkdir(parents=True)
        order = (10, 1, 0, 2)  # the list of an archive is in no order that we rely on
        for photo in order:
            (folder / f"{wnid}_{photo}.JPEG").write_bytes(jpeg(100 * number + photo, grey=photo == 1))
        lines = [f"{wnid}_{photo}.JPEG\t{photo}\t2\t{photo + 9}\t41\n" for photo in order]
        (folder.parent / f"{wnid}_boxes.txt").write_text("".join(lines))
    for photo in range(8):
        (top / "val" / "images" / f"val_{photo}.JPEG").write_bytes(jpeg(1000 + photo))
    lines = [f"val_{photo}.JPEG\t{list(NAMES)[photo % 4]}\t0\t0\t63\t{photo}\n" for photo in range(8)]
    (top / "val" / "val_annotations.txt").write_text("".join(lines))
    return top


@pytest.fixture(scope="module")
def made(archive: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make(tmp_path_factory.mktemp("data"), archive)


def zipped(folder: Path, target: Path) -> Path:
    with zipfile.ZipFile(target, "w") as file:
        for path in folder.rglob("*.*"):
            file.write(path, path.relative_to(folder.parent))
    return target


def pixels(data: bytes) -> np.ndarray:  # type: ignore[type-arg]
    with Image.open(io.BytesIO(data)) as image:
        return np.asarray(image)


def test_a_zip_its_folder_and_the_folder_above_give_the_same_bytes(
    archive: Path, made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pgsbench.data.public.download", lambda _, target: zipped(archive, target))
    for number, source in enumerate([zipped(archive, tmp_path / "a.zip"), archive.parent, None]):
        again = make(tmp_path / str(number), source)
        assert again.name == made.name
        assert store.read_manifest(again).sha256 == store.read_manifest(made).sha256
        assert list(again.parent.iterdir()) == [again]  # what was fetched goes


def test_training_takes_the_first_photos_of_each_class_as_they_are(archive: Path, made: Path) -> None:
    pairs = {key: parts for shard in sorted((made / "train").glob("*.tar")) for key, parts in read_tar(shard)}
    assert set(pairs) == {f"{wnid}_{photo}" for wnid in NAMES for photo in range(3)}
    for key, parts in pairs.items():
        wnid, _, number = key.partition("_")
        assert parts["jpg"] == (archive / "train" / wnid / "images" / f"{key}.JPEG").read_bytes()
        assert parts["txt"].decode() == caption(NAMES[wnid], key, seed=0)
        expected = np.zeros((64, 64))
        expected[2:42, int(number) : int(number) + 10] = 1  # the last row and column of a box belong to it
        assert (pixels(parts["objects.png"]) == expected).all()
    classes = [key.partition("_")[0] for key in pairs]
    assert classes != sorted(classes)  # no shard is of one class


def test_captions_are_clips_templates_with_the_curated_names() -> None:
    assert {caption("cat", f"n1_{number}", seed=0) for number in range(200)} == {
        template.format(c="cat") for template in TEMPLATES
    }
    table = tiny_imagenet.curated_names()
    assert len(table) == 1000
    assert (table["n01440764"], table["n15075141"]) == ("tench", "toilet paper")
    assert table["n02012849"] == "crane bird"  # where the archive has "crane" twice


def test_evaluation_sets(archive: Path, made: Path) -> None:
    dataset = store.read_manifest(made)
    assert dataset.evaluations == {"val": 8, "val-shifted": 8, "val-a": 4, "val-b": 4}
    assert dataset.num_train == 12
    wnids = sorted(NAMES)
    classes = {"val": wnids, "val-shifted": wnids, "val-a": wnids[::2], "val-b": wnids[1::2]}
    for name, of_set in classes.items():
        folder = made / "eval" / name
        assert evalset.read_lines(folder / "classnames.txt") == [NAMES[wnid] for wnid in of_set]
        for key, parts in evalset.read_split(folder):
            number = int(key.removeprefix("val_"))
            assert of_set[int(parts["cls"])] == list(NAMES)[number % 4]
            original = (archive / "val" / "images" / f"{key}.JPEG").read_bytes()
            assert (parts["jpg"] == original) == (name != "val-shifted")
            assert pixels(parts["objects.png"]).sum() == 64 * (number + 1)


def test_the_identity_follows_recipe_and_names(monkeypatch: pytest.MonkeyPatch) -> None:
    before = tiny_imagenet.identity(TINY)
    assert tiny_imagenet.identity(replace(TINY, per_class=2)) != before
    monkeypatch.setattr("pgsbench.worlds.tiny_imagenet.curated_names", lambda: {"n1": "other"})
    assert tiny_imagenet.identity(TINY) != before


def test_another_archive_is_refused(archive: Path, tmp_path: Path) -> None:
    other = tmp_path.with_suffix(".zip")
    other.write_bytes(b"no zip")
    with pytest.raises(DataError, match=r"\.zip: this file is missing or damaged: BadZipFile"):
        make(tmp_path, other)
    for recipe, said in (
        (tiny_imagenet.Recipe(), r"not Tiny-ImageNet: it must have 200 classes \(got 4\)"),
        (replace(TINY, per_class=5), r"must have 5 training photos of n02056570 \(got 4\)"),
        (replace(TINY, num_val=9), r"must have 9 validation photos \(got 8\)"),
    ):
        with pytest.raises(DataError, match=said):
            make(tmp_path, archive, recipe)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("file", "content", "said"),
    [
        ("val/images/val_3.JPEG", None, "val_3.JPEG: this file is missing or damaged: FileNotFoundError"),
        ("train/n03126707/images/n03126707_2.JPEG", b"\xff\xd8", "_2.JPEG: this file is missing or"),
        ("train/n03126707/n03126707_boxes.txt", b"a\t1\t2\t3\ttwo\n", "boxes.txt: .*: ValueError"),
    ],
)
def test_what_is_missing_or_damaged_is_named(
    archive: Path, tmp_path: Path, file: str, content: bytes | None, said: str
) -> None:
    broken = shutil.copytree(archive, tmp_path / archive.name)
    (broken / file).unlink()
    if content is not None:
        (broken / file).write_bytes(content)
    for source in (broken, zipped(broken, tmp_path / "a.zip")):
        with pytest.raises(DataError, match=said):
            make(tmp_path / "data", source)
    assert not list((tmp_path / "data").iterdir())


def test_without_a_network_the_way_out_is_from(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(build, "URL", "http://127.0.0.1:9/x.zip")  # nobody listens
    for offline, said in (("", "cannot be fetched"), ("1", "forbids the network")):
        monkeypatch.setenv("HF_HUB_OFFLINE", offline)
        with pytest.raises(DataError, match=rf"{said}(.|\n)*--from PATH"):
            make(tmp_path)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("suite", ["tiny-imagenet", "tiny-imagenet-halves"])
def test_the_suites_ask_for_sets_that_are_made(suite: str, made: Path) -> None:
    tasks = load_suite(suite).tasks
    assert len({task.group for task in tasks}) == 2
    for task in tasks:
        assert (made / "eval" / task.data.removeprefix("tiny-imagenet:") / "test" / "nshards.txt").is_file()
