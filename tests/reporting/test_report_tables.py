from __future__ import annotations

import ast
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
from fabricated import ARMS, Arm, on_gpu, replace_scores

from pgsbench.errors import StudyError
from pgsbench.records.study_record import Importances
from pgsbench.records.verdict_record import ALL_GROUPS
from pgsbench.reporting import figures, render, tables
from pgsbench.reporting.decision import comparisons
from pgsbench.reporting.decision.comparisons import decisions, group_comparisons
from pgsbench.reporting.pages.study_report import write_report
from pgsbench.reporting.pareto import TOKENS
from pgsbench.reporting.results import Results
from pgsbench.reporting.search import sweep_tables
from pgsbench.reporting.statistics.comparison import Missing
from pgsbench.reporting.statistics.intervals import Interval
from pgsbench.reporting.study_frames import read_frames
from pgsbench.reporting.answer import answer
from pgsbench.reporting.badges import caveats, verdict
from pgsbench.reporting.verdict.short_table import marks_table

RATIOS = [
    (arm, Arm(effect, mask_ratio=ratio, params={"strategy.mask_ratio": ratio}))
    for arm, effect in (("pgs", 2.0), ("random", -3.0))
    for ratio in (0.25, 0.5)
] + [("none", Arm(4.0, mask_ratio=0.0))]


SEARCH = {"space": {"strategy.mask_ratio": [0.25, 0.5]}}


def row(table, *start):
    return next(r for r in table.cells() if list(r[: len(start)]) == list(start))


def test_scores_are_macro_means_with_intervals(fabricate):
    results = Results(read_frames(fabricate()))
    table = tables.scores_table(results)
    assert list(table.names) == ["arm", "seeds", *results.groups, "mask overlap"]
    assert next(iter(results.groups)) == ALL_GROUPS
    assert [r[0] for r in table.cells()] == [*ARMS, "chance"]
    assert row(table, "chance")[3:5] == ["25.0", "1.0"]  # mean of 1/6, 1/4 and 1/3; 1/100
    scores = results.study.scores.query("label == 'pgs' and primary and group == 'classification'")
    macro = scores.groupby("task")["value"].mean().mean()
    assert row(table, "pgs")[3].startswith(f"{100 * macro:.1f} (")
    assert "Macro" in " ".join(table.notes)
    assert [row(table, arm)[-1] for arm in ("pgs", "none", "chance")] == ["33", "100", ""]


def test_differences_say_in_words_what_holds(fabricate):
    strong = {"pgs": Arm(12.0), "flip": Arm(0.0), "random": Arm(0.0)}
    results = Results(read_frames(fabricate(strong, num_items=300)), baselines=["flip"])
    table = tables.differences_table(results)
    assert len(table.cells()) == 5
    found = row(table, "pgs − flip", ALL_GROUPS)
    assert found[2].startswith("+")
    assert found[4] == "better"
    swapped = Results(results.study, candidate="flip", baselines=["pgs", "random"])
    assert row(tables.differences_table(swapped), "flip − pgs", ALL_GROUPS)[4] == "worse"
    assert row(tables.differences_table(swapped), "flip − random", ALL_GROUPS)[4] == "undecided"
    assert "over the pairs for the first group" in " ".join(tables.differences_table(swapped).notes)


def test_the_table_says_of_the_headline_what_the_verdict_says(fabricate, monkeypatch):
    results = Results(read_frames(fabricate(seeds=(0, 1))), baselines=["flip"])
    same = [replace(one, outcome="equivalent") for one in decisions(results)]
    monkeypatch.setattr(comparisons, "decisions", lambda _: same)
    table = tables.differences_table(results)
    assert row(table, "pgs − flip", ALL_GROUPS)[4] == "equivalent"
    assert {cells[4] for cells in table.cells()[1:]} <= {"better", "worse", "undecided"}


def test_missing_cells_are_shown_as_missing(fabricate):
    folder = fabricate(seeds=(0, 1))
    for run in folder.glob("flip-*"):
        shutil.rmtree(run)
    half = next(folder.glob("random-s1-*"))
    replace_scores(half, lambda score: None if score.task == "scenes/colour" else score)
    results = Results(read_frames(folder), baselines=["flip", "random"])
    table = tables.scores_table(results)
    assert row(table, "flip") == ["flip", "0 of 2", *["missing"] * 6]
    assert row(tables.cost_table(results), "flip")[1:] == ["missing"] * 6
    assert "no complete run has all tasks (flip)" in row(tables.differences_table(results), "pgs − flip")[4]
    assert answer(results).endswith("flip cannot be compared yet.")
    assert any(note.startswith("Missing: ") for note in marks_table(results).notes)
    assert row(tables.tasks_table(results), "scenes/colour")[4 + list(ARMS).index("flip")] == "missing"
    # The seed that lacks a task does not enter the group's mean, and does enter the other groups'.
    one_seed = results.mean("random", "classification")
    both = results.mean("random", "retrieval")
    assert isinstance(one_seed, Interval)
    assert isinstance(both, Interval)
    assert (one_seed.num_seeds, both.num_seeds) == (1, 2)


def test_cost_is_relative_to_the_unmasked_arm(fabricate):
    table = tables.cost_table(Results(read_frames(fabricate())))
    columns = list(table.names)
    assert row(table, "none")[columns.index("relative time")] == "1.00×"
    assert 0.5 < float(row(table, "pgs")[columns.index("relative time")][:-1]) < 0.8
    assert row(table, "pgs")[columns.index("mask share")] == "2.10%"
    assert "over that of none" in " ".join(table.notes)
    assert row(table, "pgs")[columns.index("effective ratio")] == "42.5%"
    assert row(table, "pgs")[columns.index("tokens kept")] == "36.8"
    assert sum("whole training; its phase on whole pictures counts" in note for note in table.notes) == 2


def test_on_cpus_time_is_processor_time(fabricate):
    """Two runs side by side, or something else on the machine, change wall time and nothing else."""
    on_cpu = fabricate({"none": Arm(mask_ratio=0.0), "pgs": Arm()})
    run = read_frames(on_cpu).runs[0]
    assert run.summary.train_cpu_seconds == 2 * run.summary.train_seconds
    table = tables.cost_table(Results(read_frames(on_cpu)))
    columns, cells = list(table.names), row(table, "none")
    assert cells[columns.index("train s")] == f"{run.summary.train_cpu_seconds:,.0f}"
    assert cells[columns.index("samples/s")] == f"{run.summary.samples_per_second / 2:,.0f}"
    table = tables.cost_table(Results(read_frames(fabricate({"none": on_gpu(Arm(mask_ratio=0.0))}))))
    assert row(table, "none")[columns.index("samples/s")] == f"{run.summary.samples_per_second:,.0f}"


def test_what_the_masks_show(fabricate):
    table = tables.mask_table(Results(read_frames(fabricate(seeds=(0, 1)))))
    assert list(table.names) == ["arm", "object shown", "insides", "outlines", "nearly gone"]
    assert row(table, "pgs")[1:4] == ["70.0", "60.0", "80.0"]
    assert [r[0] for r in table.cells()] == [arm for arm in ARMS if arm != "none"]  # it masks nothing


def test_points_of_a_search_meet_their_like(fabricate):
    results = Results(read_frames(fabricate(RATIOS, search=SEARCH)), candidate="pgs")
    pairs = {(one.candidate, one.baseline) for one in group_comparisons(results)}
    assert pairs == {
        ("pgs mask_ratio=0.25", "random mask_ratio=0.25"),
        ("pgs mask_ratio=0.5", "random mask_ratio=0.5"),
        ("pgs mask_ratio=0.25", "none"),
        ("pgs mask_ratio=0.5", "none"),
    }
    assert group_comparisons(results)[0].pair == "pgs − random, mask_ratio=0.25"
    assert any("mask_ratio=0.5" in row[0] for row in marks_table(results).cells())
    assert any("Of 4 searched points pgs mask_ratio=" in sentence for sentence in verdict(results))
    table = sweep_tables.sweep_table(results)
    assert sweep_tables.importance_table(results) is None
    assert [r[0] for r in table.cells()[:2]] == ["pgs", "pgs"]
    values = [float(r[-1]) for r in table.cells()]
    assert values == sorted(values, reverse=True)


def test_of_many_points_only_the_best_is_compared(fabricate):
    many = [("pgs", Arm(k, params={"strategy.tau": k / 10})) for k in range(8)] + [("flip", Arm(0.0))]
    results = Results(read_frames(fabricate(many, seeds=(0,), seed_sd=0.0, num_items=400)))
    assert len(results.pairs) == 1
    assert results.pairs[0][0] == results.best(results.labels_of("pgs"))
    assert any("flatters" in sentence for sentence in caveats(results))


def test_points_without_a_partner_are_not_called_chosen(fabricate):
    # A sampled search gives its arms other values: few points meet, and none was picked for its score.
    def points(arm, *values):
        return [(arm, Arm(params={"strategy.tau": value})) for value in values]

    def results(name, *flips):
        arms = [*points("pgs", 0.1, 0.2), *points("flip", *flips)]
        return Results(read_frames(fabricate(arms, seeds=(0,), name=name)), baselines=["flip"])

    apart, half = results("apart", 0.3, 0.4), results("half", 0.2, 0.3)
    assert apart.pairs == []
    assert half.pairs == [("pgs tau=0.2", "flip tau=0.2")]
    for one in (apart, half):
        assert not one.chosen_by_score
        assert not any("flatters" in sentence for sentence in caveats(one))


def test_gap_table_needs_both_controls(fabricate):
    results = Results(read_frames(fabricate(num_items=400)))
    table = tables.gap_table(results)
    assert table.cells()[0][0] == "pgs"
    assert len({r[1] for r in table.cells()}) == len(table.cells()) == 5
    assert "arm flip" in table.notes[0]
    assert "%" in row(table, "pgs", ALL_GROUPS)[3]
    assert any("of the gap between random and oracle" in sentence for sentence in verdict(results))
    arms = {"pgs": Arm(2.0), "random": Arm(-1.0), "oracle": Arm(8.0)}
    assert "arm random" in tables.gap_table(Results(read_frames(fabricate(arms, name="no-flip")))).notes[0]
    del arms["oracle"]
    assert tables.gap_table(Results(read_frames(fabricate(arms, name="few")))) is None


def test_gap_says_where_it_is_undefined(fabricate):
    flat = {"pgs": Arm(), "grid": Arm(), "random": Arm(), "oracle": Arm()}
    table = tables.gap_table(Results(read_frames(fabricate(flat))))
    assert ["every mask", "undefined"] in [[r[0], r[3]] for r in table.cells()]
    assert len(table.cells()) == len({r[1] for r in table.cells()})  # not once for each of two masks
    assert "whether the oracle beats random is undecided" in table.notes[-1]


def test_different_versions_of_a_task_do_not_compare(fabricate):
    folder = fabricate(seeds=(0,))
    replace_scores(
        next(folder.glob("flip-s0-*")),
        lambda score: replace(score, version=2 if score.task == "scenes/shape" else 1),
    )
    results = Results(read_frames(folder), baselines=["flip"])
    found = {one.of: one.interval for one in group_comparisons(results)}
    assert found["classification"] == Missing("different versions of scenes/shape")
    assert isinstance(found["retrieval"], Interval)


def test_an_unknown_arm_gets_the_nearest_name(fabricate):
    with pytest.raises(StudyError, match="did you mean 'flip'"):
        Results(read_frames(fabricate()), baselines=["flpi"])


def test_what_mattered_says_how_that_was_found(fabricate, tmp_path):
    found = Importances(4, 3, {"arm": 0.61, "strategy.mask_ratio": 0.3})
    results = Results(read_frames(fabricate(RATIOS, search=SEARCH, importances=found)))
    table = sweep_tables.importance_table(results)
    assert list(table.cells()) == [["arm", "61.0"], ["mask_ratio", "30.0"]]
    assert "forest" in table.notes[0]
    one_seed = read_frames(
        fabricate(RATIOS, seeds=(0,), search=SEARCH, importances=replace(found, num_seeds=1), name="one")
    )
    assert sweep_tables.importance_table(Results(one_seed)).notes[0].startswith("This training run only")
    text = (write_report(results, tmp_path / "out") / "report.md").read_text()
    assert "### What mattered in the search" in text
    assert "| mask_ratio | 30.0 |" in text


TABLE = render.Table("A & B", ["arm", ("n", render.POINTS), "word"], [["p_g|s", -0.01, "50 %"]], ["Note."])


def test_markdown():
    assert render.markdown(TABLE).splitlines() == [
        "| arm | n | word |",
        "| --- | ---: | --- |",
        "| p_g\\|s | −1.0 | 50 % |",
        "",
        "Note.",
    ]


def test_latex_knows_every_sign_that_reports_are_written_with():
    """pdfLaTeX stops at one that it does not know; headers, notes and cells come from these modules."""
    signs = set()
    for module in Path(render.__file__).parent.rglob("*.py"):
        nodes = list(ast.walk(ast.parse(module.read_text())))
        docstrings = {node.value for node in nodes if isinstance(node, ast.Expr)}
        for node in nodes:
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and node not in docstrings:
                signs |= {sign for sign in node.value if not sign.isascii()}
    assert {"−", "×", "⁶"} <= signs
    found = render.latex(render.Table("t", ["arm", TOKENS.column], [], sorted(signs)))
    assert "10$^6$ tokens" in found
    assert [sign for sign in sorted(signs) if sign in found] == []


def test_latex_escapes():
    found = render.latex(TABLE)
    assert r"\caption{A \& B. Note.}" in found
    assert r"p\_g|s & $-$1.0 & 50 \% \\" in found
    assert r"\begin{tabular}{lrl}" in found

    assert found.startswith("% \\usepackage{booktabs,adjustbox}\n")
    assert r"\label{tab:a-b}" in found


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="no pdflatex to compile tables with")
def test_latex_compiles(fabricate, tmp_path, monkeypatch):
    monkeypatch.setattr(figures, "ALL", {})
    paths = write_report(Results(read_frames(fabricate(seeds=(0, 1)))), tmp_path / "out")
    tables_ = (paths / "tables.tex").read_text()
    packages = "\\usepackage{booktabs,adjustbox}"
    document = f"\\documentclass[twocolumn]{{article}}{packages}\\begin{{document}}{tables_}\\end{{document}}"
    (tmp_path / "paper.tex").write_text(document)
    command = ["pdflatex", "-halt-on-error", "-interaction=nonstopmode", "paper.tex"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout[-2000:]


def test_numbers_as_people_read_them():
    assert render.points(0.0214) == "+2.1"
    assert render.points(-0.0004) == "0.0"
    assert render.points(-0.014) == "−1.4"
    assert render.P_VALUE.text(0.00004) == "< 0.001"
    assert render.P_VALUE.text(float("nan")) == "missing"
