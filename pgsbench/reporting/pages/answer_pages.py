"""Pages of one answer: of a study at several budgets, with its evidence, and of worlds beside a reference."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from pgsbench.errors import StudyError
from pgsbench.records import files
from pgsbench.records.json_files import read_record, write_json, write_record
from pgsbench.records.verdict_record import VerdictRecord
from pgsbench.reporting.answer import verdict_record
from pgsbench.reporting.evidence import write_evidence
from pgsbench.reporting.pages.templates import data_uri, write_page, write_text
from pgsbench.reporting.render import Table, and_, counted, markdown
from pgsbench.reporting.results import Results, named
from pgsbench.reporting.scale import UNITS, Scaling, measured, shared_steps_table
from pgsbench.reporting.style import save, svg
from pgsbench.reporting.validity import Validity

FIGURE, PLAN, PREDICTION = "scale.png", "scale.json", "prediction.json"
_BUDGETS_CAPTION = (
    "Error against budget, both logarithmic. Dots: measured, with 95 % intervals. Lines: fitted to the "
    "filled ones, with the interval of a new measurement. Hollow: held out."
)
_WORLDS_CAPTION = (
    "Points over the baseline: in the world against in the reference, with 95 % intervals. Arms in the upper "
    "right and in the lower left have one sign in both."
)
#: Files whose every number follows from the evidence.
SCALE_TEXTS = ("scale.md", files.VERDICT)


@dataclass(frozen=True)
class ScalePlan:
    """What was asked; the evidence of a budget lies in the folder of its name, ``x0.5``.

    Attributes:
        name: Name of the report.
        budgets: Multiples of the study's samples or budget that curves are fitted to, growing.
        unit: What they are fitted over, a key of `UNITS`.
        hold_out: The multiple that was foretold; None: none was.
    """

    name: str
    budgets: tuple[float, ...]
    unit: str
    hold_out: float | None = None

    @property
    def folders(self) -> list[str]:
        """The folders of the evidence of all budgets, the one that was held out last."""
        every = (*self.budgets, *(() if self.hold_out is None else (self.hold_out,)))
        return [f"x{factor:g}" for factor in every]

    @classmethod
    def read(cls, folder: Path) -> ScalePlan | None:
        """Return the plan in a report's folder; None: it is no report of several budgets."""
        return read_record(folder / PLAN, cls, StudyError)


def _scaling(at: Sequence[Results], plan: ScalePlan) -> Scaling:
    """Return what results at the budgets of a plan say, the one that was held out last, if it is there.

    Raises:
        StudyError: No arm was measured at every budget.
    """
    num = len(plan.budgets)
    # Every unit grows with the samples.
    grown = None if plan.hold_out is None else plan.hold_out / plan.budgets[-1]
    by_budget = [measured(results, plan.unit) for results in at]
    found = Scaling(by_budget[:num], plan.unit, grown, {**by_budget[-1]} if len(at) > num else {})
    if not found.laws:
        raise StudyError(f"no arm has a score and {plan.unit} at every budget", where=plan.name)
    return found


def write_prediction(at: Sequence[Results], plan: ScalePlan, folder: Path) -> None:
    """Write ``prediction.json``, where a budget is held out.

    Raises:
        StudyError: No arm was measured at every budget.
    """
    said = {
        arm: {UNITS[plan.unit][2]: cost, "score": guess.estimate, "low": guess.low, "high": guess.high}
        for arm, (cost, guess) in _scaling(at[: len(plan.budgets)], plan).predicted.items()
    }
    if said:
        write_json(folder / PREDICTION, {"hold_out": plan.hold_out, "arms": said})


def write_scale_report(at: Sequence[Results], plan: ScalePlan, folder: Path) -> list[Table]:
    """Write figure, report.html, scale.md, verdict.json and the evidence of each budget; return the tables.

    Args:
        at: The study at each budget, the one that was held out last.
        plan: What was asked.
        folder: Where the report goes.
    """
    picture = _scaling(at, plan).figure()
    save(picture, folder / FIGURE)
    said, tables = write_scale_texts(at, plan, folder)
    _write_page(folder / "report.html", said, picture, _BUDGETS_CAPTION, tables)
    write_record(folder / PLAN, plan)
    for name, results in zip(plan.folders, at, strict=True):
        write_evidence(
            results.study, results.candidate, results.baselines, results.all_borrowed(), folder / name
        )
    return tables


def write_scale_texts(
    at: Sequence[Results], plan: ScalePlan, folder: Path
) -> tuple[VerdictRecord, list[Table]]:
    """Write `SCALE_TEXTS` alone, and return the verdict and the tables; see `write_scale_report`."""
    told, results = _scaling(at, plan), at[-1]
    tables = [*told.tables, *shared_steps_table(at)]
    headline = next(iter(results.groups), "")
    seeds = min(results.seeds(label)[0] for label in results.study.labels)
    of_largest = verdict_record(results)
    said = replace(
        of_largest,
        study=plan.name,
        answer=told.answer,
        certainty=f"On {named(headline)}: {counted(seeds, 'seed')}; power laws through "
        f"{counted(len(plan.budgets), 'budget')}, 95 % intervals of a new measurement.",
        setting=f"The largest budget. {of_largest.setting}",
        outcomes={},
        compared={},
    )
    limits = "".join(f"- {short}: {sentence}\n" for short, sentence in said.badges.items())
    page = [
        f"# {plan.name}\n",
        f"**{said.answer}** {said.certainty}\n",
        limits,
        f"![Error against budget]({FIGURE})\n",
    ]
    page += [f"## {one.title}\n\n{markdown(one)}" for one in tables]
    write_text(folder / "scale.md", "\n".join(page))
    said.write(folder)
    return said, tables


def write_validity(found: Validity, path: Path) -> Path:
    """Draw worlds beside their reference: a figure alone, or a page with the tables where it is ``.html``."""
    figure = found.figure()
    if path.suffix.lower() != ".html":
        return save(figure, path)
    reference, worlds = found.matches[0].reference.study, [match.world.study for match in found.matches]
    is_alone = len(worlds) == 1  # then the first sentence is the headline
    said = {
        "study": f"{and_(worlds)} beside {reference}",
        "question": f"Does the order of arms on {and_(worlds, 'or')} foretell the one on {reference}?",
        "answer": found.headline,
        "badges": found.limits,
        "certainty": "\n".join(" ".join(sentences[is_alone:]) for sentences in found.sentences),
        "setting": "",
    }
    _write_page(path, said, figure, _WORLDS_CAPTION, found.tables)
    return path


def _write_page(path: Path, said: Any, picture: Figure, caption: str, tables: Sequence[Table]) -> None:
    """Write a page: headline, picture and the first table beside each other, the other tables below.

    Args:
        path: The page.
        said: What it says, with the fields of a `VerdictRecord` from ``study`` to ``setting``.
        picture: The picture.
        caption: What it shows and how to read it.
        tables: The tables.
    """
    content = {"said": said, "caption": caption, "tables": tables}
    write_page(path, "answer.html.j2", picture=data_uri(svg(picture).encode(), "svg+xml"), **content)
