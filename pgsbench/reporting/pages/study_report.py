"""The report of a study: an answer in Markdown and HTML, its details, and the numbers behind it."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pgsbench.records import files
from pgsbench.reporting import figures, render
from pgsbench.reporting.answer import first_table, verdict_record
from pgsbench.reporting.columns import arms_table
from pgsbench.reporting.decision.comparisons import comparisons_frame
from pgsbench.reporting.during import during_words
from pgsbench.reporting.evidence import write_evidence
from pgsbench.reporting.pages import details
from pgsbench.reporting.pages.examples import examples
from pgsbench.reporting.pages.templates import data_uri, environment, write_page, write_text
from pgsbench.reporting.results import Results
from pgsbench.reporting.style import save, svg


@dataclass(frozen=True)
class Picture:
    """A figure in a page.

    Attributes:
        name: Name of its file without ending.
        caption: What it shows and how to read it.
        address: Where a page finds it, a ``data:`` address; empty where only its words are asked for.
    """

    name: str
    caption: str
    address: str = ""


_CAPTIONS = {
    "differences": "Lead in points with 95 % intervals; right of the line the candidate is better. Filled: "
    "decided, in the colour of the better arm. Grey: differences that do not matter.",
    "sweep": "Score against the searched value, with 95 % bands. ★: the best of each arm. Dotted: an arm "
    "that was not searched.",
    "settings": "Score at the searched settings, in percent. ★: the best.",
    "cost": "Score against cost, with 95 % intervals; upper left is best. Filled, on the line: nothing that "
    "costs no more has a higher score.",
    "tuned": "What each arm was tuned by: score against the value, on a seed and on test items that are not "
    "compared. ★: what it was tuned to.",
    "during": "Score against pairs seen: means of the seeds, in a band from the lowest to the highest.",
    "masks": "The same training pictures under each arm's mask. Blank patches had no influence.",
    "loss": "Training loss, mean over seeds. Losses of different masks do not compare.",
}

#: Width of photographs in a page, in pixels.
SCREEN = 700

#: Files of a report whose every number follows from its evidence.
TEXTS = (
    *("report.md", "details.md", "scores.csv", "comparisons.csv", "arms.csv", "tables.tex"),
    files.VERDICT,
)


def write_report(results: Results, out_folder: Path, *, from_evidence: bool = False) -> Path:
    """Write the pages, figures/, numbers, verdict.json and evidence of a study; returns the folder.

    Args:
        results: The study, with what it compares.
        out_folder: Where the report goes; its files are replaced.
        from_evidence: The study was read from the evidence there, which stays, as do figures that it does not
            suffice for.
    """
    pictures = _pictures(results, out_folder / "figures", keep=from_evidence)
    content = _content(results, pictures)
    _write_texts(results, content, out_folder)
    if not from_evidence:
        figures.draw_masks(results.study)
        write_evidence(
            results.study, results.candidate, results.baselines, results.all_borrowed(), out_folder
        )
    write_page(out_folder / "report.html", "report.html.j2", **content)
    return out_folder


def write_texts(results: Results, out_folder: Path, figures: Sequence[str]) -> None:
    """Write `TEXTS` alone, in which the figures of these names are linked; none is drawn."""
    _write_texts(results, _content(results, [Picture(name, _CAPTIONS[name]) for name in figures]), out_folder)


def figures_in(folder: Path) -> list[str]:
    """Return the figures that a report has, in the order of its pages."""
    return [name for name in figures.ALL if (folder / "figures" / f"{name}.png").is_file()]


def _write_texts(results: Results, content: dict[str, Any], out_folder: Path) -> None:
    first = content["short"]
    tables = [content["arms"], *([first] if first else []), *content["details"]]
    every = {table.title: table for table in tables}.values()
    texts = (
        environment().get_template("report.md.j2").render(content),
        environment().get_template("details.md.j2").render(content),
        results.study.scores.to_csv(index=False),
        comparisons_frame(results).to_csv(index=False),
        arms_table(results, max_rows=len(results.study.labels)).frame.to_csv(index=False),
        "\n".join(render.latex(table) for table in every),
    )
    for name, text in zip(TEXTS, texts, strict=False):  # the verdict has a writer of its own
        write_text(out_folder / name, text)
    content["first"].write(out_folder)


def _content(results: Results, pictures: Sequence[Picture]) -> dict[str, Any]:
    study, short, by_name = (
        results.study,
        first_table(results),
        {picture.name: picture for picture in pictures},
    )
    order = [by_name[name] for name in figures.names_for(results) if name in by_name]
    is_first = bool(order) and order[0].name in figures.FIRST.values()
    return {
        "title": study.name,
        "first": verdict_record(results),
        "short": short,
        "arms": arms_table(results),
        "picture": order[0] if is_first else None,
        "others": order[is_first:],
        "overtaking": during_words(results),
        "details": [
            table for table in details.detail_tables(results) if short is None or table.title != short.title
        ],
        "items": examples(results),
        "runs": details.runs_table(results),
        "command": study.record.command,
        "source": study.record.source.strip(),
        "facts": details.facts(results),
    }


def _pictures(results: Results, folder: Path, *, keep: bool) -> list[Picture]:
    """Draw the figures: as files in pixels, and in pages as vectors; photographs stay pixels."""
    found, wanted = [], figures.names_for(results)
    for name in figures.ALL:
        path, figure = folder / f"{name}.png", figures.ALL[name](results) if name in wanted else None
        if figure is not None:
            save(figure, path)
        if figure is not None and name != "masks":
            found.append(Picture(name, _CAPTIONS[name], data_uri(svg(figure).encode(), "svg+xml")))
        elif figure is not None or (keep and name in wanted and path.is_file()):
            found.append(Picture(name, _CAPTIONS[name], data_uri(_smaller(path), "jpeg")))
        elif not keep or name not in wanted:
            path.unlink(missing_ok=True)  # of an older report
    return found


def _smaller(path: Path) -> bytes:
    """Return a picture as a JPEG that is as wide as a page on a screen."""
    from PIL import Image

    picture, file = Image.open(path).convert("RGB"), io.BytesIO()
    picture.thumbnail((SCREEN, 10 * SCREEN))
    picture.save(file, "jpeg", quality=65)
    return file.getvalue()
