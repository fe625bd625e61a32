"""Where data sets are made."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Any

import pytest

from pgsbench.data import store
from pgsbench.errors import DataError


def test_a_folder_that_the_system_refuses_is_a_mistake_of_the_data(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any, **__: Any) -> None:  # what root gets below /proc, and anybody on a full disk
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(Path, "mkdir", refuse)
    said = r"cannot be written: No space left.*\n.*PGSBENCH_DATA"
    with pytest.raises(DataError, match=said), store.new_folder(tmp_path / "scenes-1"):
        pytest.fail("nothing was made")
