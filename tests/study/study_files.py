"""Study files of tests: read, or what is said of their mistakes."""

from __future__ import annotations

from pathlib import Path

import pytest

from pgsbench.errors import UserError
from pgsbench.study.design import Design
from pgsbench.study.open import open_study_file


def load(folder: Path, text: str, *overrides: str) -> Design:
    path = folder / "study.yaml"
    path.write_text(text)
    return open_study_file(path, overrides=overrides)


def complaint(folder: Path, text: str, *overrides: str) -> str:
    """Return what is wrong, with lines alone where the file is named."""
    with pytest.raises(UserError) as caught:
        load(folder, text, *overrides)
    return str(caught.value).replace(f"{folder / 'study.yaml'}:", "")
