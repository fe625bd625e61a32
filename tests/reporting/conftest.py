"""Fixtures of the tests of reports: fabricated studies, and no figures where nobody looks at them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
from fabricated import ARMS, Arm, write_runs
from no_figures import no_figures

#: Test files that look at the figures of reports.
LOOKING = ("test_answer", "test_evidence", "test_figures", "test_report_page")


@pytest.fixture(scope="module", autouse=True)
def quick(request: pytest.FixtureRequest) -> Iterator[None]:
    with nullcontext() if request.module.__name__ in LOOKING else no_figures():
        yield


@pytest.fixture
def fabricate(tmp_path: Path):
    """Return a writer of fabricated studies under ``tmp_path/runs``: ``fabricate(arms, seeds=..)``."""

    def write(arms: Mapping[str, Arm] | Sequence[tuple[str, Arm]] = ARMS, **options: Any) -> Path:
        return write_runs(tmp_path / "runs", arms, **{"num_items": 120, **options})

    return write
