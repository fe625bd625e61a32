"""Spellings of a table: Markdown, LaTeX, numbers."""

from __future__ import annotations

import ast
import shutil
import subprocess
from pathlib import Path

import pytest

from pgsbench.reporting import render
from pgsbench.reporting.pages.study_report import write_report
from pgsbench.reporting.pareto import TOKENS
from pgsbench.reporting.results import Results
from pgsbench.reporting.study_frames import read_frames

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
def test_latex_compiles(fabricate, tmp_path):
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


def test_numbers_to_sort_by_are_no_text():
    row = [render.Estimate(0.5, 0.4, 0.6, "▲"), None, "missing"]
    header = [("score", render.PERCENT), ("n", render.COUNT), "word"]
    table = render.Table("t", header, [row])
    assert table.shown() == [[("▲ 50.0 ±10.0", 0.5), ("missing", None), ("missing", None)]]
    frame = table.frame
    assert list(frame.columns) == ["score", "score low", "score high", "n", "word"]
    assert frame.loc[0, "score high"] == pytest.approx(60.0)
