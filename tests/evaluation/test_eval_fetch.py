"""Fetching public data sets: what is missing and no more, and what happens when it breaks off."""

from __future__ import annotations

import errno
import json
import shutil
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from unittest.mock import Mock

import huggingface_hub
import pytest
from public_sets import classes, states, suite_of

from pgsbench.data import fetch
from pgsbench.data.tar import EncodedImage
from pgsbench.errors import DataError
from pgsbench.evaluation.availability import (
    MISSING,
    PRESENT,
    fetch_missing,
    survey,
)
from pgsbench.evaluation.evaluate import evaluate
from pgsbench.evaluation.suite import Suite
from pgsbench.models.clip import Clip

MakePicture = Callable[..., EncodedImage]

#: Two entries as they stand in SugarCrepe's files; numbers may have gaps.
ENTRIES = {
    "0": {"filename": "a.jpg", "caption": "A cat on a mat.", "negative_caption": "A dog on a mat."},
    "7": {"filename": "a.jpg", "caption": "A cat sits.", "negative_caption": "A cat stands."},
}


@pytest.fixture
def hub(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, list[str]]]:
    """A hub on which every data set is the same; returns what was asked of it."""
    asked: list[tuple[str, list[str]]] = []
    source = shutil.copytree(data / "classes", tmp_path / "hub")
    shutil.copytree(source / "test", source / "train")

    def download(repository: str, *, repo_type: str, local_dir: Path, allow_patterns: list[str]) -> None:
        assert repo_type == "dataset"
        asked.append((repository, allow_patterns))
        for path in source.rglob("*"):
            name = path.relative_to(source)
            if path.is_file() and any(name.match(pattern) for pattern in allow_patterns):
                (local_dir / name).parent.mkdir(exist_ok=True)
                shutil.copyfile(path, local_dir / name)
        (local_dir / ".cache").mkdir(exist_ok=True)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", download)
    monkeypatch.setattr(huggingface_hub, "get_session", Mock)
    return asked


def test_without_a_network_the_hub_is_not_asked_again_and_again(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", "http://127.0.0.1:9")  # nobody listens
    monkeypatch.setattr(huggingface_hub, "snapshot_download", lambda *_, **__: pytest.fail("it was asked"))
    began = time.monotonic()
    with pytest.raises(
        DataError, match=rf"(?s)mnist: .*{fetch.NOT_FETCHED}.*not tried .*: clip_benchmark:dtd"
    ):
        fetch_missing(suite_of(tmp_path, classes("mnist"), classes("dtd")))
    assert time.monotonic() - began < 20  # its library alone waits for longer
    assert capfd.readouterr().err == ""


def test_fetch_gets_what_is_missing_and_no_more(
    root: Path, hub: list[tuple[str, list[str]]], data: Path, tmp_path: Path
) -> None:
    shutil.copytree(data / "classes", root / "wds_vtab-dtd")
    suite = suite_of(tmp_path, classes("mnist", size=60), classes("dtd", size=60))
    assert fetch_missing(suite) == 1
    assert [repository for repository, _ in hub] == ["clip-benchmark/wds_mnist"]
    assert "test/*" in hub[0][1]
    assert not any("*" in pattern for pattern in hub[0][1] if pattern != "test/*")
    assert states(suite)["mnist"].state == PRESENT
    assert sorted(path.name for path in root.iterdir()) == ["wds_mnist", "wds_vtab-dtd"]
    assert not (root / "wds_mnist" / ".cache").exists()
    assert fetch_missing(suite) == 0


def test_fetch_says_when_what_came_has_another_size(
    root: Path, hub: list[tuple[str, list[str]]], tmp_path: Path
) -> None:
    with pytest.raises(DataError, match="clip_benchmark:mnist: wrong size after fetching: 60"):
        fetch_missing(suite_of(tmp_path, classes("mnist")))


def test_a_set_of_another_size_is_said_and_stays(
    root: Path, hub: list[tuple[str, list[str]]], data: Path, tmp_path: Path
) -> None:
    shutil.copytree(data / "classes", root / "wds_mnist")
    with pytest.raises(DataError, match=r"mnist: 60 test items where it has 10,000; move .*wds_mnist away"):
        fetch_missing(suite_of(tmp_path, classes("mnist")))
    assert hub == []


def test_an_interrupted_download_is_not_there(
    root: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(repository: str, *, local_dir: Path, **_: object) -> None:
        shutil.copytree(data / "classes" / "test", local_dir / "test")
        raise ConnectionError("gone\nmore")

    monkeypatch.setattr(huggingface_hub, "get_session", Mock)
    monkeypatch.setattr(huggingface_hub, "snapshot_download", broken)
    suite = suite_of(tmp_path, classes("mnist"), classes("dtd"))
    with pytest.raises(DataError) as error:
        fetch_missing(suite)
    text = str(error.value)
    assert "wds_mnist: this cannot be fetched: ConnectionError: gone\n" in text
    assert "- not tried without a network: clip_benchmark:dtd" in text
    assert {one.state for one in survey(suite)} == {MISSING}
    assert [path.name for path in root.iterdir()] == [".wds_mnist.part"]  # goes on from here


def test_a_split_that_lacks_shards_is_fetched_again(
    root: Path, hub: list[tuple[str, list[str]]], data: Path, tmp_path: Path
) -> None:
    shutil.copytree(data / "classes", root / "wds_mnist")
    (root / "wds_mnist" / "test" / "2.tar").unlink()
    suite = suite_of(tmp_path, classes("mnist", size=60))
    assert (states(suite)["mnist"].state, states(suite)["mnist"].problem) == (MISSING, "test/2.tar")
    assert fetch_missing(suite) == 1
    assert states(suite)["mnist"].state == PRESENT


def probe(name: str, **more: object) -> str:
    return classes(name, **more).replace("zero_shot", "linear_probe").replace("name: ", "name: probe-")


@pytest.mark.parametrize("probe_first", [False, True])
def test_a_split_that_is_complete_is_not_fetched_again(
    probe_first: bool, root: Path, hub: list[tuple[str, list[str]]], tmp_path: Path
) -> None:
    tasks = [classes("mnist", size=60), probe("mnist", size=60)]
    suite = suite_of(tmp_path, *(reversed(tasks) if probe_first else tasks))
    fetch_missing(suite)
    splits = sorted(pattern for _, patterns in hub for pattern in patterns if "*" in pattern)
    assert splits == ["test/*", "train/*"]
    assert {one.state for one in survey(suite)} == {PRESENT}

    hub.clear()
    (root / "wds_mnist" / "train" / "1.tar").unlink()
    kept = {path: path.stat().st_ino for path in root.glob("wds_mnist/test/*")}
    classnames = root / "wds_mnist" / "classnames.txt"
    classnames.write_text(classnames.read_text().upper())
    assert fetch_missing(suite) == 1
    assert [pattern for _, patterns in hub for pattern in patterns if "*" in pattern] == ["train/*"]
    assert {path: path.stat().st_ino for path in root.glob("wds_mnist/test/*")} == kept
    assert classnames.read_text().isupper()
    assert [path.name for path in root.iterdir()] == ["wds_mnist"]


def test_of_a_split_that_is_a_link_only_the_link_goes(
    root: Path, hub: list[tuple[str, list[str]]], data: Path, tmp_path: Path
) -> None:
    shutil.copytree(data / "classes", root / "wds_mnist")
    (root / "wds_mnist" / "test").rename(tmp_path / "elsewhere")
    (root / "wds_mnist" / "test").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "elsewhere" / "2.tar").unlink()
    suite = suite_of(tmp_path, classes("mnist", size=60))
    assert fetch_missing(suite) == 1
    assert states(suite)["mnist"].state == PRESENT
    assert len(list((tmp_path / "elsewhere").iterdir())) == 3


def test_offline_touches_no_network(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fetch, "fetch", lambda *_: pytest.fail("the network was asked"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(DataError, match="not tried without a network: clip_benchmark:mnist, clip"):
        fetch_missing(suite_of(tmp_path, classes("mnist"), classes("dtd")))
    assert not root.exists()


@pytest.mark.parametrize("is_offline", [False, True])
def test_what_cannot_be_fetched_says_what_to_do(
    is_offline: bool, root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if is_offline:
        monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    suite = suite_of(
        tmp_path,
        '{name: w, data: "clip_benchmark:winoground", protocol: winoground, group: g}',
        classes("imagenet1q"),
    )
    with pytest.raises(DataError) as error:
        fetch_missing(suite)
    assert "by hand: hf.co/datasets/facebook/winoground" in str(error.value)
    assert "did you mean 'imagenet1k'?" in str(error.value)
    assert "not tried" not in str(error.value)


@pytest.fixture
def servers(tmp_path: Path, make_picture: MakePicture, monkeypatch: pytest.MonkeyPatch) -> Path:
    """SugarCrepe's files and COCO's archive behind file:// addresses."""
    folder = tmp_path / "servers"
    folder.mkdir()
    (folder / "add_att.json").write_text(json.dumps(ENTRIES))
    with zipfile.ZipFile(folder / "val2017.zip", "w") as archive:
        archive.writestr("val2017/a.jpg", make_picture(0, kind="jpg").data)
        archive.writestr("val2017/b.jpg", make_picture(1, kind="jpg").data)
    monkeypatch.setattr(fetch, "SUGAR_CREPE_URL", f"{folder.as_uri()}/{{subset}}.json")
    monkeypatch.setattr(fetch, "COCO_URL", f"{folder.as_uri()}/val2017.zip")
    return folder


def sugar_crepe(folder: Path) -> Suite:
    data = "clip_benchmark:sugar_crepe/add_att"
    return suite_of(folder, f'{{name: s, data: "{data}", protocol: compositional, group: g, size: 2}}')


def test_sugarcrepe_is_fetched_and_runs(root: Path, servers: Path, tiny: Clip, tmp_path: Path) -> None:
    suite = sugar_crepe(tmp_path)
    assert fetch_missing(suite) == 1
    assert sorted(path.name for path in (root / "sugar_crepe").rglob("*")) == [
        "a.jpg",
        "add_att.json",
        "b.jpg",
        "val2017",
    ]
    assert [path.name for path in root.iterdir()] == ["sugar_crepe"]
    report = evaluate(tiny, suite, out=tmp_path / "out")
    assert (report.scores[0].n, report.num_images, report.num_texts) == (2, 1, 4)
    assert report.scores[0].notes == []


def test_a_damaged_archive_leaves_nothing_to_be_counted(root: Path, servers: Path, tmp_path: Path) -> None:
    content = (servers / "val2017.zip").read_bytes()
    (servers / "val2017.zip").write_bytes(content[: len(content) // 2])
    suite = sugar_crepe(tmp_path)
    with pytest.raises(DataError, match="the archive cannot be unpacked"):
        fetch_missing(suite)
    assert states(suite)["sugar_crepe/add_att"].state == MISSING
    (servers / "val2017.zip").write_bytes(content)
    assert fetch_missing(suite) == 1


@pytest.mark.parametrize("linked", [False, True])
def test_pictures_that_are_missing_are_fetched(
    linked: bool, root: Path, servers: Path, tmp_path: Path
) -> None:
    pictures = root / "sugar_crepe" / "val2017"
    pictures.mkdir(parents=True)
    if linked:
        pictures = pictures.rename(tmp_path / "elsewhere")
        (root / "sugar_crepe" / "val2017").symlink_to(pictures)
    (pictures / "b.jpg").write_bytes(b"")
    suite = sugar_crepe(tmp_path)
    assert fetch_missing(suite) == 1
    assert states(suite)["sugar_crepe/add_att"].state == PRESENT
    assert pictures.exists()


def test_pictures_that_are_there_are_not_fetched(root: Path, servers: Path, tmp_path: Path) -> None:
    suite = sugar_crepe(tmp_path)
    fetch_missing(suite)
    (servers / "val2017.zip").unlink()
    (root / "sugar_crepe" / "add_att.json").unlink()
    assert fetch_missing(suite) == 1


def test_an_archive_that_finds_no_room_is_kept(
    root: Path, servers: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    suite = sugar_crepe(tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(zipfile.ZipFile, "extractall", full)
        with pytest.raises(DataError, match="No space left on device"):
            fetch_missing(suite)
    (servers / "val2017.zip").unlink()
    assert fetch_missing(suite) == 1


def test_pairs_that_cannot_be_read_are_not_kept(root: Path, servers: Path, tmp_path: Path) -> None:
    content = (servers / "add_att.json").read_text()
    (servers / "add_att.json").write_text("<html>")
    suite = sugar_crepe(tmp_path)
    with pytest.raises(DataError, match="not a SugarCrepe file"):
        fetch_missing(suite)
    (servers / "add_att.json").write_text(content)
    assert fetch_missing(suite) == 1
