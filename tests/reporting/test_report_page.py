from __future__ import annotations

import re
import shutil
from html.parser import HTMLParser

import numpy as np
import pandas as pd
import pytest
from fabricated import ARMS, Arm, write_runs

from pgsbench.records.study_record import StudyRecord
from pgsbench.reporting import figures
from pgsbench.reporting.pages.study_report import write_report, write_texts
from pgsbench.reporting.results import Results
from pgsbench.reporting.study_frames import read_frames

VOID = {"meta", "img", "source", "br", "link", "hr", "wbr"}


class Page(HTMLParser):
    """Checks that tags nest, and collects what a browser would fetch."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.fetched: list[str] = []
        self.alts: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        if tag not in VOID:
            self.open.append(tag)
        found = dict(attrs)
        self.fetched += [found[key] for key in ("src", "srcset", "href") if key in found]
        self.alts += [found["alt"]] if tag == "img" else []

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


@pytest.fixture
def no_figures(monkeypatch):
    """Drawing takes most of a report's time, and most tests do not look."""
    monkeypatch.setattr(figures, "ALL", {})


def results_of(study):
    return Results(read_frames(study), baselines=["flip", "none"])


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    folder = tmp_path_factory.mktemp("masks")
    study = write_runs(folder / "runs", ARMS, seeds=(0, 1), num_items=120)
    return write_report(results_of(study), folder / "reports" / "masks")


def test_the_html_page_stands_alone(report):
    html = (report / "report.html").read_text()
    page = Page(html)
    assert page.open == []
    assert page.fetched
    assert all(address.startswith("data:image/") for address in page.fetched)
    assert "http" not in re.sub(r"base64,[A-Za-z0-9+/=]+", "", html)
    assert "@import" not in html
    assert "url(" not in html
    assert len(page.alts) == len(list(report.glob("figures/*.png"))) == 4
    assert all(page.alts)


def test_the_page_says_what_a_reader_asks(report):
    html = (report / "report.html").read_text()
    runs = StudyRecord.read(report.parents[1] / "runs" / "masks").runs
    assert all(run.spec.id in html for run in runs)
    for said in (
        "Does pgs keep what matters, at half the patches?",
        "The arms differ in nothing but the mask.",
        "pgsbench compare --study studies/masks.yaml",
        "a1b2c3d4e5f60718",
        "torch 2.13.0",
        "Every task counts the same in its group",
        "Time: of a training",
        "Try photos, too.",
    ):
        assert said in html, said
    assert "not significant" not in html  # one word for what is undecided


def test_the_markdown_page_links_its_figures(report):
    text = (report / "report.md").read_text()
    links = re.findall(r"!\[[^\]]+\]\(([^)]+)\)", text)
    assert len(links) == 4
    assert all((report / link).is_file() for link in links)
    assert "\n\n\n" not in text
    tables = [block for block in text.split("\n\n") if block.startswith("|")]
    assert all(
        len({line.replace("\\|", "").count("|") for line in block.splitlines()}) == 1 for block in tables
    )


def test_numbers_lie_beside_the_page(report):
    scores = pd.read_csv(report / "scores.csv")
    assert len(scores) == 5 * 2 * 11
    comparisons = pd.read_csv(report / "comparisons.csv")
    said = set(comparisons["verdict"].str.removesuffix(" (exploratory)"))
    assert said <= {"better", "worse", "undecided"}
    assert len(comparisons) == 2 * (5 + 8)
    assert (comparisons["low"] <= comparisons["estimate"]).all()
    latex = (report / "tables.tex").read_text()
    assert latex.count(r"\begin{table}") == latex.count("booktabs") == 3
    assert len(set(re.findall(r"\\label\{tab:([a-z-]+)\}", latex))) == 3
    arms = pd.read_csv(report / "arms.csv")
    assert list(arms["arm"]) == list(arms.sort_values("score", ascending=False)["arm"])
    assert (arms["score low"] < arms["score high"]).all()


@pytest.mark.usefixtures("no_figures")
def test_the_values_of_each_score_are_read_once(fabricate, tmp_path, monkeypatch):
    folder, read, load = fabricate(seeds=(0,)), [], np.load
    monkeypatch.setattr(np, "load", lambda path: (read.append(path), load(path))[1])
    write_texts(Results(read_frames(folder)), tmp_path / "out", [])
    assert len(read) == len(set(read)) == 5 * 8  # arms x tasks


@pytest.mark.usefixtures("no_figures")
def test_what_is_missing_is_said_at_the_top(fabricate, tmp_path):
    folder = fabricate(seeds=(0,))
    shutil.rmtree(next(folder.glob("flip-*")))
    text = (write_report(Results(read_frames(folder)), tmp_path / "out") / "report.md").read_text()
    assert text.index("4 of 5 runs[^") < text.index("| arm |")
    assert "1 run of 5 have no scores: flip s0: waiting." in text


def test_a_study_without_any_result_still_has_a_page(fabricate, tmp_path):
    folder = fabricate(seeds=(0,))
    for run in folder.glob("*-s0-*"):
        shutil.rmtree(run)
    paths = write_report(Results(read_frames(folder)), tmp_path / "out")
    assert "**Nothing is compared.**" in (paths / "report.md").read_text()
    assert not list(paths.glob("figures/*"))


@pytest.mark.usefixtures("no_figures")
def test_user_text_is_escaped(fabricate, tmp_path):
    folder = fabricate({"pgs": Arm(), "<b>&": Arm()}, seeds=(0,), name="x")
    html = (write_report(Results(read_frames(folder)), tmp_path / "out") / "report.html").read_text()
    assert "<b>&" not in html
    assert "&lt;b&gt;&amp;" in html


def test_a_report_of_sixteen_arms_is_light(tmp_path):
    """One question, one page: a reader has minutes, and a browser on a phone has little room."""
    arms = {**ARMS, **{f"a-longer-name-{k}": Arm(k / 2, mask_ratio=0.3 + 0.02 * k) for k in range(11)}}
    study = write_runs(tmp_path / "runs", arms, num_items=60)
    report = write_report(Results(read_frames(study)), tmp_path / "report")
    assert len((report / "report.md").read_text().split()) <= 1200
    assert (report / "report.html").stat().st_size <= 600_000
    lines = (report / "report.md").read_text().splitlines()
    assert sum(line.startswith("| a-longer-name-3 |") for line in lines) == 1
