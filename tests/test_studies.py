"""Every study that ships is valid, says what it asks, and names the command that answers it."""

from __future__ import annotations

from pathlib import Path

import pytest

from pgsbench.models.start import tags_of
from pgsbench.reporting.render import MISSING_CELL
from pgsbench.session.costs import plan
from pgsbench.study import studies
from pgsbench.study.open import open_study_file

STUDIES = list(studies().values())


@pytest.mark.parametrize("path", STUDIES, ids=lambda path: path.stem)
def test_a_shipped_study_is_valid(path: Path) -> None:
    study = open_study_file(path)
    assert study.config.question.endswith("?")


@pytest.mark.parametrize("path", STUDIES, ids=lambda path: path.stem)
def test_a_shipped_study_can_be_planned_without_its_data(path: Path, tmp_path: Path) -> None:
    costs, memory = plan(open_study_file(path), device="H100x8", output=tmp_path)
    assert costs.cells()
    assert all(MISSING_CELL not in row for row in [*costs.cells(), *memory.cells()])
    assert "The share is an assumption" in costs.notes[0]
    assert not list(tmp_path.iterdir())


def test_published_weights_are_those_of_the_model() -> None:
    models = [open_study_file(path).config.model for path in STUDIES]
    started = [model for model in models if model.pretrained]
    assert started
    assert all(model.pretrained in tags_of(model.name) for model in started)


@pytest.mark.parametrize("path", STUDIES, ids=lambda path: path.stem)
def test_a_shipped_study_opens_with_question_command_and_time(path: Path) -> None:
    head = [line for line in path.read_text().splitlines() if line.startswith("#")]
    for word in ("Question:", "Command:", "Hardware:", "Time:", "Found:"):
        assert any(line.startswith(f"# {word}") for line in head), f"{path.name} lacks `# {word}`"
