"""Files are replaced as a whole or not at all."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from pgsbench.disk.whole_files import atomic, given_name, unwritable


def test_a_reader_sees_the_old_file_until_the_new_one_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "new" / "scores.json"
    for text in ("old", "new"):
        with atomic(path) as scratch:
            before = path.read_text() if path.exists() else ""
            scratch.write_text(text)
            assert (path.read_text() if path.exists() else "") == before
            assert list(path.parent.glob("*.json")) == [path][: len(before)]
        assert path.read_text() == text
    assert list(path.parent.iterdir()) == [path]


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "report.md"
    path.write_text("old")

    def fail() -> None:
        with atomic(path) as scratch:
            scratch.write_text("ne")
            raise ValueError("half way")

    with pytest.raises(ValueError, match="half way"):
        fail()
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("has_links", [True, False])
def test_the_first_file_keeps_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, has_links: bool
) -> None:
    def no_links(*_: object) -> None:
        raise PermissionError

    if not has_links:
        monkeypatch.setattr(os, "link", no_links)
    for text in ("first", "second"):
        (tmp_path / "scratch").write_text(text)
        assert given_name(tmp_path / "scratch", tmp_path / "name") == (text == "first")
        (tmp_path / "scratch").unlink()
    assert (tmp_path / "name").read_text() == "first"


def test_a_folder_that_cannot_be_written_says_why(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert unwritable(tmp_path / "new" / "deep") == ""
    assert unwritable(tmp_path / "file" / "below") == f"{tmp_path}/file is no folder"
    assert list(tmp_path.iterdir()) == [tmp_path / "file"]
