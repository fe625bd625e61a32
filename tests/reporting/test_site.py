"""The site of all reports: complete in itself, and read in a browser, wide and narrow."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
from fabricated import Arm, write_runs

from pgsbench.errors import ConfigError, StudyError
from pgsbench.records.verdict_record import VerdictRecord
from pgsbench.reporting.pages.site import write_site
from pgsbench.reporting.pages.study_report import write_report
from pgsbench.reporting.results import Results
from pgsbench.reporting.study_frames import read_frames

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)

#: Opens pages in frames of given widths and says of each how wide it is, the verdict, and a sorted column.
HARNESS = """<body><script>
const asked = PAGES, found = [];
function next() {
  if (!asked.length) { document.title = JSON.stringify(found); return; }
  const [page, width] = asked.shift(), frame = document.createElement("iframe");
  frame.width = width; frame.height = 800; frame.style.border = 0; frame.src = page;
  frame.onload = () => {
    const page = frame.contentDocument, root = page.documentElement;
    const answer = page.querySelector(".answer, .verdict strong"), table = page.querySelector("table");
    const first = [...page.querySelectorAll(".first table")];
    const end = Math.max(0, ...first.map(part => part.getBoundingClientRect().bottom));
    table.tHead.rows[0].cells[1].click();
    const column = [...table.tBodies[0].rows].map(row => row.cells[1].textContent);
    const cut = [...page.querySelectorAll(".first .scroll")].some(one => one.scrollWidth > one.clientWidth);
    found.push({width, scroll: root.scrollWidth, answer: answer.textContent, column, end, cut});
    next();
  };
  document.body.append(frame);
}
next();
</script></body>"""


PAGES = ("index.html", "masks/report.html", "more/report.html")


@pytest.fixture(scope="module")
def site(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    for name, lead in (("masks", 14.0), ("more", -14.0)):
        arms = {"pgs": Arm(lead), "flip": Arm(), "none": Arm(3.0)}
        arms |= {"a-mask-with-a-name-of-many-words": Arm(3.0)} if name == "more" else {}
        study = write_runs(folder / "runs", arms, name=name, num_items=120, seed_sd=0.0)
        write_report(Results(read_frames(study)), folder / "reports" / name)
    (folder / "reports" / "old").mkdir()
    (folder / "reports" / "old" / "report.html").write_text("from before there were verdicts")
    return folder


def test_the_index_leads_to_all_that_it_names(site, tmp_path):
    done = write_site(site / "reports", tmp_path / "public")
    assert sorted(done.studies) == ["masks", "more"]
    assert done.left_out == [site / "reports" / "old"]
    html = done.index.read_text()
    links = re.findall(r'(?:href|src)="([^"]+)"', html)
    assert len(links) == 2 * 6
    assert all((done.index.parent / link).is_file() for link in links)
    assert "http" not in html
    for said in (
        "pgs is better than flip",
        "pgs is worse than flip",
        "3 seeds",
        "torch 2.13.0",
        "2026-01-05",
    ):
        assert said in html, said
    again = write_site(site / "reports", tmp_path / "public")
    assert again.index.read_text() == html


def test_a_site_is_not_written_among_reports_or_without_any(site, tmp_path):
    with pytest.raises(ConfigError, match="among the reports"):
        write_site(site / "reports", site / "reports" / "public")
    with pytest.raises(StudyError, match="no report"):
        write_site(tmp_path / "nothing", tmp_path / "public")


def test_a_site_replaces_nothing_but_a_site(site, tmp_path):
    for name, content in (("masks/notes.txt", "mine"), ("index.html", "<p>mine</p>")):
        public = tmp_path / name.replace("/", "-")
        (public / name).parent.mkdir(parents=True)
        (public / name).write_text(content)
        with pytest.raises(ConfigError, match="something else lies here"):
            write_site(site / "reports", public)
        assert (public / name).read_text() == content
        assert len(list(public.iterdir())) == 1
    with pytest.raises(ConfigError, match="is no folder"):
        write_site(site / "reports", tmp_path / "index.html/index.html")


@pytest.mark.skipif(CHROMIUM is None, reason="no chromium to open the site in")
def test_a_browser_shows_the_verdict_first_wide_and_narrow(site, tmp_path):
    write_site(site / "reports", tmp_path / "public")
    pages = [[page, width] for page in PAGES for width in (1300, 420)]
    harness = tmp_path / "public" / "harness.html"
    harness.write_text(HARNESS.replace("PAGES", json.dumps(pages)))
    flags = ["--headless", "--no-sandbox", "--disable-gpu", "--allow-file-access-from-files"]
    command = [CHROMIUM, *flags, f"--user-data-dir={tmp_path}/profile", "--virtual-time-budget=20000"]
    done = subprocess.run(
        [*command, "--dump-dom", harness.as_uri()], capture_output=True, text=True, timeout=300, check=True
    )
    found = json.loads(re.search(r"<title>(.*?)</title>", done.stdout, re.DOTALL)[1])
    assert [page["width"] for page in found] == [1300, 420] * 3
    for page in found:
        assert page["scroll"] <= page["width"], page
        assert not page["cut"], page
    for page in found[2:4]:
        assert page["answer"].startswith("pgs is better than flip")
        assert page["end"] < 800  # table and figure are on the first screen
        scores = [float(cell.split()[0]) for cell in page["column"]]
        assert scores == sorted(scores)


def test_commands_in_the_list_of_studies_are_code(site, tmp_path):
    folder = tmp_path / "reports"
    shutil.copytree(site / "reports", folder)
    said = VerdictRecord.read(folder / "masks")
    replace(said, certainty="A smaller one: `run --margin 0.2`.").write(folder / "masks")
    html = write_site(folder, tmp_path / "public").index.read_text()
    assert "`" not in html.partition("<body>")[2].partition("<script")[0]
    assert '<span class="whole">--margin</span>' in html
