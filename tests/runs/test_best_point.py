"""The winner of a search becomes a study file of its own, for seeds that did not choose it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from made_study import write_study

from pgsbench.errors import StudyError
from pgsbench.reporting.results import Results
from pgsbench.reporting.run_list import best_run
from pgsbench.reporting.study_frames import read_frames
from pgsbench.reporting.sweep import sweep_table, write_best
from pgsbench.study.open import open_study_file

SEARCH = {"space": {"strategy.mask_ratio": [0.5, 0.75]}, "arms": ["pgs"]}


def test_the_winner_is_written_with_its_values_and_fresh_seeds(tmp_path: Path) -> None:
    runs = write_study(tmp_path, search=SEARCH)
    path = tmp_path / "winner.yaml"
    assert write_best("tiny", path, output=tmp_path) == "pgs mask_ratio=0.75"
    head = path.read_text()
    assert "# It has the highest mean of 2 points." in head
    assert "# Its score there: 80.0 (mean, mean of 1 seed)." in head
    assert "strategy.mask_ratio = 0.75" in head
    study = open_study_file(path)
    assert study.config.seeds == [1, 2, 3]
    assert study.config.name == "winner"
    again = study.run_config("pgs", {}, 0)
    assert again.strategy.fields["mask_ratio"] == 0.75
    for part in ("data", "model", "training"):
        assert getattr(again, part) == getattr(runs[1].spec.config, part)


def test_nothing_is_overwritten_and_nothing_is_made_of_a_study_without_a_search(tmp_path: Path) -> None:
    write_study(tmp_path, search=SEARCH)
    path = tmp_path / "mine.yaml"
    path.write_text("mine")
    with pytest.raises(StudyError, match="the file exists already"):
        write_best("tiny", path, output=tmp_path)
    assert path.read_text() == "mine"
    with pytest.raises(StudyError, match="no such study has run here"):
        write_best("tinny", tmp_path / "new.yaml", output=tmp_path)
    write_study(tmp_path, name="plain")
    with pytest.raises(StudyError, match="has searched nothing"):
        write_best("plain", tmp_path / "new.yaml", output=tmp_path)


@pytest.mark.parametrize("sampler", ["random", "grid"])
def test_a_point_above_a_limit_is_not_the_best(tmp_path: Path, sampler: str) -> None:
    asked = SEARCH | {"sampler": sampler, "trials": 2, "at_most": {"train_seconds": 1.5}}
    runs = write_study(tmp_path, search=asked)
    for run, seconds in zip(runs, (1.0, 2.0), strict=True):
        assert run.summary is not None
        run.write_summary(replace(run.summary, train_cpu_seconds=seconds))
    path = tmp_path / "winner.yaml"
    assert write_best("tiny", path, output=tmp_path) == "pgs mask_ratio=0.5"
    assert "1 point above search.at_most left out." in path.read_text()
    results = Results(read_frames(tmp_path / "runs/tiny"))
    assert results.best(results.study.labels) == "pgs mask_ratio=0.5"
    assert list(best_run("tiny", output=tmp_path)["label"]) == ["pgs mask_ratio=0.5"]
    table = sweep_table(results)
    assert table is not None
    assert [row[-3] for row in table.cells()] == ["60.0", "too costly"]
    for run in runs:
        assert run.summary is not None
        run.write_summary(replace(run.summary, train_cpu_seconds=9.0))
    with pytest.raises(StudyError, match=r"cost more than search\.at_most allows"):
        write_best("tiny", tmp_path / "none.yaml", output=tmp_path)
    with pytest.raises(StudyError, match=r"cost more than search\.at_most allows"):
        best_run("tiny", output=tmp_path)
