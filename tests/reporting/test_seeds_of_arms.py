"""How many seeds a number rests on does not depend on what was asked before, nor on runs without scores."""

from __future__ import annotations

from dataclasses import replace

import pytest
from fabricated import Arm, replace_runs, replace_scores

from pgsbench.records import files
from pgsbench.reporting.columns import arms_table
from pgsbench.reporting.results import ALL_GROUPS, Results
from pgsbench.reporting.study_frames import read_frames


def without_scores(folder, pattern):
    """Delete the scores of the runs with a name like this: complete, but never evaluated."""
    for run in folder.glob(pattern):
        (run / files.SCORES).unlink()


def without_a_task(folder, pattern):
    """Drop one task from the scores of the runs with a name like this."""
    for run in folder.glob(pattern):
        replace_scores(run, lambda score: None if score.task == "scenes/shape" else score)


def on_another_suite(folder, pattern):
    """Let the study want another suite than these runs were tested on."""
    names = {run.name for run in folder.glob(pattern)}
    replace_runs(
        folder,
        lambda run: (
            replace(run, suite_fingerprint="another") if run.directory.split("/")[1] in names else run
        ),
    )


@pytest.mark.parametrize("spoil", [without_scores, without_a_task, on_another_suite])
def test_what_is_asked_first_changes_no_number(fabricate, spoil):
    folder = fabricate({"pgs": Arm(2.0), "flip": Arm(), "random": Arm(-1.0)})
    spoil(folder, "pgs-s[12]-*")
    asked_alone, asked_later = Results(read_frames(folder)), Results(read_frames(folder))
    alone = asked_alone.mean("flip", ALL_GROUPS)
    assert asked_later.difference("pgs", "flip", ALL_GROUPS).num_seeds == 1
    assert asked_later.mean("flip", ALL_GROUPS) == alone
    assert alone.num_seeds == 3
    assert asked_later.difference("flip", "random", ALL_GROUPS).num_seeds == 3
    assert asked_later.seeds("flip") == (3, 3)


def test_a_run_that_lacks_a_task_is_none_of_the_seeds_that_are_shown(fabricate):
    folder = fabricate({"pgs": Arm(2.0), "flip": Arm()})
    whole = Results(read_frames(folder)).objective_value("pgs")
    without_a_task(folder, "pgs-s[12]-*")
    results = Results(read_frames(folder))
    table = arms_table(results)
    shown = {row[0]: row[table.names.index("seeds")] for row in table.cells()}
    assert (shown["pgs"], shown["flip"]) == ("1 of 3", "3")
    assert results.mean("pgs", ALL_GROUPS).num_seeds == results.seeds("pgs")[0] == 1
    # The mean of the tasks that are left would be another number than the other points have.
    assert results.objective_value("pgs") == pytest.approx(results.mean("pgs", ALL_GROUPS).estimate)
    assert results.objective_value("pgs") != pytest.approx(whole)
