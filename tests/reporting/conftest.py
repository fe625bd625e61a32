"""The fixture of fabricated studies."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from fabricated import ARMS, Arm, write_runs


@pytest.fixture
def fabricate(tmp_path: Path):
    """Return a writer of fabricated studies under ``tmp_path/runs``: ``fabricate(arms, seeds=..)``."""

    def write(arms: Mapping[str, Arm] | Sequence[tuple[str, Arm]] = ARMS, **options: Any) -> Path:
        return write_runs(tmp_path / "runs", arms, **{"num_items": 120, **options})

    return write
