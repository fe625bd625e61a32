"""With one seed "this training run only" comes first, wherever a number is judged."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from fabricated import ARMS, Arm

from pgsbench.records.verdict_record import VerdictRecord
from pgsbench.reporting import tables
from pgsbench.reporting.decision.comparisons import comparisons_frame
from pgsbench.reporting.pages.first_screen import verdict_record
from pgsbench.reporting.render import as_json
from pgsbench.reporting.results import Results
from pgsbench.reporting.statistics.comparison import ONE_RUN
from pgsbench.reporting.study_frames import read_frames
from pgsbench.reporting.study_results import StudyResults
from pgsbench.reporting.terminal import text
from pgsbench.reporting.ranking import ranking_table
from pgsbench.reporting.badges import caveats, verdict
from pgsbench.reporting.verdict.short_table import marks_table, verdict_table

FIRST = f"{ONE_RUN.capitalize()}:"
STRONG = {**ARMS, "pgs": Arm(14.0)}


@pytest.fixture
def one(fabricate):
    return Results(read_frames(fabricate(STRONG, seeds=(3,), num_items=300)))


@pytest.fixture
def three(fabricate):
    return Results(read_frames(fabricate(STRONG, name="three", num_items=300)))


def test_every_sentence_of_the_verdict_begins_with_it(one, three):
    assert len(verdict(one)) >= 2
    assert all(sentence.startswith(FIRST) for sentence in verdict(one))
    assert caveats(one)[0].startswith(FIRST)
    assert StudyResults(one).verdict.startswith(FIRST)
    assert not any(ONE_RUN in sentence.lower() for sentence in [*verdict(three), *caveats(three)])


def test_so_do_the_verdicts_and_notes_of_tables(one, three):
    for table in (tables.differences_table, tables.task_differences_table):
        assert {row[4].partition(":")[0] for row in table(one).cells()} == {ONE_RUN}
        assert any(row[4].startswith(f"{ONE_RUN}: better") for row in table(one).cells())
        assert not any(ONE_RUN in row[4] for row in table(three).cells())
    for table in (
        tables.scores_table,
        tables.tasks_table,
        tables.differences_table,
        tables.task_differences_table,
        tables.gap_table,
        tables.cost_table,
    ):
        assert table(one).notes[0].startswith(FIRST), table
        assert not any(FIRST in note for note in table(three).notes), table
    assert set(comparisons_frame(one)["verdict"].str.partition(":")[0]) == {ONE_RUN}


def test_so_do_the_first_table_the_matrix_and_the_ranking(one, three):
    for table in (verdict_table, marks_table, ranking_table):
        assert table(one).notes[0] == f"{FIRST} one seed.", table
        assert not any(ONE_RUN in note.lower() for note in table(three).notes), table
        assert max(map(len, text(table(one)).splitlines())) <= 100
    assert {row[4] for row in ranking_table(one).cells()} == {"1"}
    assert {row[4] for row in ranking_table(three).cells()} == {"3"}
    assert "never of seeds" in ranking_table(one).notes[1]


def test_so_do_the_verdicts_that_programs_read(one, three, tmp_path):
    for results, first in ((one, f"{ONE_RUN}: "), (three, "")):
        rows = json.loads(as_json(verdict_table(results), ranking_table(results)))
        said = {row["arm"]: row["pgs is"] for row in rows["Verdict"] if row["pgs is"]}
        assert said["random"] == f"{first}▲ better"
        assert all(one.startswith(first) for one in said.values())
        assert {row["seeds"] for row in rows["Ranking"]} == {1 if first else 3}
        verdict_record(results).write(tmp_path)
        outcomes = VerdictRecord.read(tmp_path).outcomes
        assert outcomes["pgs − random"] == f"{first}better"
        assert all(one.startswith(first) for one in outcomes.values())


def test_of_a_table_in_which_some_have_more_seeds_it_is_said_so(fabricate):
    study = read_frames(fabricate({"pgs": Arm(), "flip": Arm(), "none": Arm(mask_ratio=0.0)}))
    kept = [run for run in study.runs if run.arm != "flip" or run.seed == 0]
    results = Results(replace(study, runs=tuple(kept)))
    assert verdict_table(results).notes[0] == f"{FIRST} what rests on one seed."
    assert ranking_table(results).notes[0] == f"{FIRST} one seed.", "all three share one"


def test_single_tasks_are_a_family_of_their_own_and_called_exploratory(one, three):
    groups, tasks = tables.differences_table(three), tables.task_differences_table(three)
    assert "exploratory" in tasks.title
    assert "over the pairs for the first group" in " ".join(groups.notes)
    assert f"over the {len(tasks.cells())} comparisons of this table alone" in " ".join(tasks.notes)
    claims = [row[4] for row in tasks.cells() if "better" in row[4] or "worse" in row[4]]
    assert claims
    assert all(claim.endswith("(exploratory)") for claim in claims)
    assert not any("exploratory" in row[4] for row in groups.cells())
    assert set(comparisons_frame(three)["family"]) == {"headline", "groups", "tasks"}
    assert any("tasks are exploratory" in sentence for sentence in caveats(three))
