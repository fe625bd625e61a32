"""The page of a study at several budgets."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from pgsbench import __version__
from pgsbench.disk.whole_files import atomic
from pgsbench.reporting.pages.first_screen import verdict_record
from pgsbench.reporting.pages.templates import environment
from pgsbench.reporting.render import Table, counted, markdown
from pgsbench.reporting.results import Results, named
from pgsbench.reporting.statistics.comparison import of_one_run

FIGURE = "scale.png"


def write_scale_page(
    results: Results, answer: str, tables: Sequence[Table], folder: Path, *, num_budgets: int
) -> None:
    """Write report.html, scale.md and verdict.json beside the figure, `FIGURE`.

    Args:
        results: The study at its largest budget.
        answer: What it says in one line.
        tables: Its tables.
        folder: Where figure and page lie; its name is the page's.
        num_budgets: Budgets that curves are fitted to.
    """
    headline = next(iter(results.groups), "")
    seeds = min(results.seeds(label)[0] for label in results.study.labels)
    of_largest = verdict_record(results)
    said = replace(
        of_largest,
        study=folder.name,
        answer=of_one_run(answer, seeds),
        certainty=f"On {named(headline)}: {counted(seeds, 'seed')}; power laws through "
        f"{counted(num_budgets, 'budget')}, 95 % intervals of a new measurement.",
        setting=f"The largest budget. {of_largest.setting}",
        outcomes={},
        compared={},
    )
    picture = "data:image/png;base64," + base64.b64encode((folder / FIGURE).read_bytes()).decode()
    page = environment().get_template("scale.html.j2")
    parts = [
        f"# {folder.name}\n",
        f"{said.answer} {said.certainty}\n",
        f"![Error against budget]({FIGURE})\n",
    ]
    parts += [f"## {one.title}\n\n{markdown(one)}" for one in tables]
    for name, text in (
        ("report.html", page.render(said=said, tables=tables, picture=picture, version=__version__)),
        ("scale.md", "\n".join(parts)),
    ):
        with atomic(folder / name) as scratch:
            scratch.write_text(text, encoding="utf-8")
    said.write(folder)
