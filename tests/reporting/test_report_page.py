from __future__ import annotations

import re
import shutil
import subprocess
import sys
from html.parser import HTMLParser

import numpy as np
import pandas as pd
import pytest
from fabricated import ARMS, Arm, write_runs

from pgsbench.records.study_record import StudyRecord
from pgsbench.records.verdict_record import ALL_GROUPS
from pgsbench.reporting import figures
from pgsbench.reporting.decision.comparisons import group_comparisons
from pgsbench.reporting.gallery import ShownSelection, mask_gallery
from pgsbench.reporting.pages.study_report import write_report, write_texts
from pgsbench.reporting.results import Results
from pgsbench.reporting.study_frames import read_frames
from pgsbench.reporting.style import save

VOID = {"meta", "img", "source", "br", "link", "hr"}


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
    assert all(address.startswith("data:image/png;base64,") for address in page.fetched)
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
        "Macro means",
        "Relative time",
        "one data set (scenes)",
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
    assert latex.count(r"\begin{table}") == latex.count("booktabs") >= 9
    assert len(set(re.findall(r"\\label\{tab:([a-z-]+)\}", latex))) == 9


def test_writing_twice_gives_the_same_page(report):
    before = (report / "report.html").read_bytes()
    study = report.parents[1] / "runs" / "masks"
    again = write_report(results_of(study), report)
    assert (again / "report.html").read_bytes() == before


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
    assert text.index("> - flip s0: waiting") < text.index("## What the numbers say")
    assert "4 of 5 runs complete" in text


def test_a_study_without_any_result_still_has_a_page(fabricate, tmp_path):
    folder = fabricate(seeds=(0,))
    for run in folder.glob("*-s0-*"):
        shutil.rmtree(run)
    paths = write_report(Results(read_frames(folder)), tmp_path / "out")
    assert "missing" in (paths / "report.md").read_text()
    assert not list(paths.glob("figures/*"))


@pytest.mark.usefixtures("no_figures")
def test_user_text_is_escaped(fabricate, tmp_path):
    folder = fabricate({"pgs": Arm(), "<b>&": Arm()}, seeds=(0,), name="x")
    html = (write_report(Results(read_frames(folder)), tmp_path / "out") / "report.html").read_text()
    assert "<b>&" not in html
    assert "&lt;b&gt;&amp;" in html


def test_figures_show_the_numbers(fabricate):
    ratios = [
        (arm, Arm(mask_ratio=ratio, params={"strategy.mask_ratio": ratio}))
        for arm in ("pgs", "random")
        for ratio in (0.25, 0.5)
    ]
    results = Results(read_frames(fabricate([*ratios, ("none", Arm(mask_ratio=0.0))], seeds=(0, 1))))
    drawn = figures.ratio_accuracy(results)
    lines = {line.get_label(): line for line in drawn.axes[0].get_lines()}
    assert lines["pgs"].get_xdata() == pytest.approx([0.25, 0.5])
    expected = [results.mean(f"pgs mask_ratio={r}", ALL_GROUPS).estimate for r in (0.25, 0.5)]
    assert lines["pgs"].get_ydata() == pytest.approx(expected)
    assert "none (unmasked)" in lines
    visible = [axes for axes in drawn.axes if axes.axison]
    assert len(visible) == 5
    forest = figures.forest(results)
    assert {axes.get_title(loc="left").replace("\n", " ") for axes in forest.axes if axes.axison} == {
        one.pair for one in group_comparisons(results)
    }


@pytest.mark.parametrize("tone", [0, 40, 154, 255])
def test_gallery_tells_kept_dropped_and_hidden_apart_on_any_picture(tmp_path, tone):
    image = np.full((1, 8, 8, 3), tone, np.uint8)
    shown, hidden = np.array([[[True, False, False, False]], [[False, False, False, True]]])
    drawn = mask_gallery(
        image,
        {"pgs": ShownSelection(shown, hidden)},
        grid=(2, 2),
        captions=["one tone"],
        maps={"edges": np.zeros((1, 4))},
    )
    panel = drawn.axes[2]
    shown = np.asarray(panel.get_images()[0].get_array())
    assert np.allclose(shown[:4, :4], tone / 255)  # a kept patch is the picture, untouched
    dropped, hidden = shown[0, 7], shown[7, 7]
    assert np.ptp(dropped) < 0.1 < np.ptp(hidden)  # no hue, and one that no grey has
    assert np.allclose(shown[4:, :4], dropped)
    borders, hatches = panel.collections
    corners = {tuple(path.vertices.min(axis=0)) for path in borders.get_paths()}
    assert corners == {(3.5, -0.5), (-0.5, 3.5)}  # around dropped patches
    assert [path.vertices.min() >= 3.5 for path in hatches.get_paths()] == [True] * 3  # in the hidden one
    assert not np.allclose(borders.get_colors()[0, :3], dropped, atol=0.1)
    assert panel.get_title(loc="left") == "pgs\n75 % masked"
    assert save(drawn, tmp_path / "gallery.png").stat().st_size > 1000


def test_only_hidden_patches_that_occur_are_explained():
    image = np.zeros((1, 8, 8, 3))
    for is_hidden, entries in ((False, 0), (True, 2)):
        chosen = ShownSelection(
            np.array([[True, False, False, not is_hidden]]), np.array([[False] * 3 + [is_hidden]])
        )
        drawn = mask_gallery(image, {"pgs": chosen}, grid=(2, 2))
        assert sum(len(legend.get_texts()) for legend in drawn.legends) == entries


def test_the_masks_of_all_arms_on_the_same_pictures(fabricate):
    results = Results(read_frames(fabricate(seeds=(0, 1))))
    drawn = figures.masks(results)
    titles = [axes.get_title(loc="left") for axes in drawn.axes[:6]]
    assert titles[0] == "image"
    assert titles[1:3] == ["pgs\n50 % masked", "none\n0 % masked"]
    unmasked = read_frames(fabricate({"none": Arm(mask_ratio=0.0)}, seeds=(0,), name="plain"))
    assert figures.masks(Results(unmasked)) is None


def test_gallery_refuses_what_does_not_fit():
    image = np.zeros((1, 8, 8, 3))
    with pytest.raises(ValueError, match=r"must be \(1, 4\)"):
        mask_gallery(image, {"pgs": ShownSelection(np.zeros((1, 5), dtype=bool))}, grid=(2, 2))
    with pytest.raises(ValueError, match=r"must be \(b, h, w, 3\)"):
        mask_gallery(image[..., 0], {}, grid=(2, 2))


def test_reporting_imports_no_torch_no_mlflow_no_pyplot():
    code = (
        "import sys, pgsbench.reporting.pages.study_report, pgsbench.reporting.gallery\n"
        "print([name for name in ('torch', 'mlflow', 'matplotlib.pyplot') if name in sys.modules])"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"
