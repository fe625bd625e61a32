"""Fetching public data sets: what is missing and no more, and what happens when it breaks off."""

from __future__ import annotations

import json
import shutil
import zipfile
from pathlib import Path
from unittest.mock import Mock

import huggingface_hub
import pytest
from evalsets import classes, picture, states, suite_of

from pgsbench.data import public
from pgsbench.errors import DataError
from pgsbench.evaluation.evaluate import evaluate
from pgsbench.evaluation.suite import Suite
from pgsbench.evaluation.task_data import (
    MISSING,
    PRESENT,
    fetch_missing,
    survey,
)
from pgsbench.models.clip import Clip

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


def test_what_cannot_be_fetched_says_what_to_do(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    suite = suite_of(
        tmp_path,
        classes("imagenet1q"),
    )
    with pytest.raises(DataError) as error:
        fetch_missing(suite)
    assert "did you mean 'imagenet1k'?" in str(error.value)
    assert "not tried" not in str(error.value)


@pytest.fixture
def servers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """SugarCrepe's files and COCO's archive behind file:// addresses."""
    folder = tmp_path / "servers"
    folder.mkdir()
    (folder / "add_att.json").write_text(json.dumps(ENTRIES))
    with zipfile.ZipFile(folder / "val2017.zip", "w") as archive:
        archive.writestr("val2017/a.jpg", picture(0, kind="jpg").data)
        archive.writestr("val2017/b.jpg", picture(1, kind="jpg").data)
    monkeypatch.setattr(public, "SUGAR_CREPE_URL", f"{folder.as_uri()}/{{subset}}.json")
    monkeypatch.setattr(public, "COCO_URL", f"{folder.as_uri()}/val2017.zip")
    return folder


def sugar_crepe(folder: Path) -> Suite:
    data = "clip_benchmark:sugar_crepe/add_att"
    return suite_of(folder, f'{{name: s, data: "{data}", protocol: compositional, group: g, size: 2}}')


def test_sugarcrepe_is_fetched_and_runs(root: Path, servers: Path, tiny: Clip, tmp_path: Path) -> None:
    suite = sugar_crepe(tmp_path)
    assert fetch_missing(suite) == 1
    found = sorted(path.name for path in (root / "sugar_crepe").rglob("*"))
    assert found == ["a.jpg", "add_att.json", "b.jpg", "val2017"]
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
