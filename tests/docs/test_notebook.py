"""The notebook runs as it stands, and gives the numbers that the command line gives."""

from __future__ import annotations

from pathlib import Path

import nbclient
import nbformat
import pandas as pd
import pytest
from commands import pgsbench
from no_figures import no_figures
from tinyworld import TinyWorld

NOTEBOOK = Path(__file__).parents[2] / "docs" / "notebook.ipynb"
#: Stands after the last cell in the test: what the notebook showed, kept to the last bit.
KEEP = """
results.scores.to_pickle("scores.pickle")
results.differences.to_pickle("differences.pickle")
"""
#: Stands before the first one.
QUICK = f"""
import sys
sys.path.insert(0, {str(Path(__file__).parents[1])!r})
from contextlib import ExitStack
from pathlib import Path
from no_figures import no_figures
from pgsbench.reporting import figures
from quick_disk import quick_disk
from quick_workers import quick_workers
quick = ExitStack()
for one in (quick_workers(), quick_disk(Path()), no_figures(differences=figures.forest)):
    quick.enter_context(one)
"""


@pytest.fixture(scope="module")
def folder(tiny: TinyWorld, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder in which the notebook has run, on the tiny study."""
    folder = tmp_path_factory.mktemp("notebook")
    book = nbformat.read(NOTEBOOK, as_version=4)
    settings = next(cell for cell in book.cells if cell.cell_type == "code")
    assert 'STUDY = "quick"' in settings.source
    settings.source = settings.source.replace('"quick"', repr(str(tiny.study)))
    book.cells.insert(0, nbformat.v4.new_code_cell(QUICK))
    book.cells.append(nbformat.v4.new_code_cell(KEEP))
    client = nbclient.NotebookClient(book, timeout=240, resources={"metadata": {"path": str(folder)}})
    client.execute()
    (folder / "answer.html").write_text(book.cells[-2].outputs[0]["data"]["text/html"])
    return folder


def test_the_notebook_ends_with_the_pictures_of_the_report(folder: Path) -> None:
    shown, report = ((folder / name).read_text() for name in ("answer.html", "reports/tiny/report.html"))
    assert shown.count("<img") == report.count('class="picture"') > 0
    assert "Arms" in shown


def test_the_notebook_runs_and_holds_no_outputs(folder: Path) -> None:
    assert (folder / "reports/tiny/report.html").is_file()
    for cell in nbformat.read(NOTEBOOK, as_version=4).cells:
        assert cell.cell_type != "code" or (cell.outputs == [] and cell.execution_count is None)


def test_notebook_and_command_line_give_equal_numbers(folder: Path, tiny: TinyWorld, tmp_path: Path) -> None:
    with no_figures():
        done = pgsbench(tmp_path, "compare", "--study", str(tiny.study), "--baselines", "flip")
    assert done.returncode == 0, done.stderr
    for name in ("scores.csv", "comparisons.csv"):
        report = tmp_path / "reports/tiny" / name
        assert report.read_bytes() == (folder / "reports/tiny" / name).read_bytes()
    written = pd.read_csv(tmp_path / "reports/tiny/comparisons.csv", float_precision="round_trip")
    shown = pd.read_pickle(folder / "differences.pickle")
    assert written["estimate"].tolist() == shown["estimate"].tolist()
    scores = pd.read_pickle(folder / "scores.pickle")
    assert len(scores) == 2 * scores["group"].nunique()
