"""Files are replaced as a whole or not at all."""

from __future__ import annotations

from pathlib import Path

import pytest

from pgsbench.disk.whole_files import atomic, unwritable


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


def test_a_folder_that_cannot_be_written_says_why(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert unwritable(tmp_path / "new" / "deep") == ""
    assert unwritable(tmp_path / "file" / "below") == f"{tmp_path}/file is no folder"
    assert list(tmp_path.iterdir()) == [tmp_path / "file"]
