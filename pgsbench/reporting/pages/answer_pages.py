"""Pages of one answer: of a study at several budgets, with its evidence, and of worlds beside a reference."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
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
from pgsbench.reporting.scale import (
    HELD_OUT,
    UNITS,
    Measured,
    PowerLaw,
    Predicted,
    fits,
    fits_table,
    held_out_table,
    measured,
    scale_answer,
    scale_figure,
    shared_steps_table,
)
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


@dataclass(frozen=True)
class _Foretold:
    """Arm -> number: at each budget, its law, (cost, guess) at what is held out, and what was found there."""

    by_budget: list[dict[str, Measured]]
    laws: dict[str, PowerLaw]
    predicted: dict[str, tuple[float, Predicted]]
    found: dict[str, Measured]


def _foretell(at: Sequence[Results], plan: ScalePlan) -> _Foretold:
    by_budget = [measured(results, plan.unit) for results in at[: len(plan.budgets)]]
    laws = fits(by_budget)
    if not laws:
        raise StudyError(f"no arm has a score and {plan.unit} at every budget", where=plan.name)
    if plan.hold_out is None:
        return _Foretold(by_budget, laws, {}, {})
    grown = plan.hold_out / plan.budgets[-1]  # every unit grows with the samples
    costs = {arm: by_budget[-1][arm].cost * grown for arm in laws}
    predicted = {arm: (costs[arm], law.predict(costs[arm])) for arm, law in laws.items()}
    found = measured(at[-1], plan.unit) if len(at) > len(by_budget) else {}
    return _Foretold(by_budget, laws, predicted, found)


def write_prediction(at: Sequence[Results], plan: ScalePlan, folder: Path) -> None:
    """Write ``prediction.json``, where a budget is held out.

    Raises:
        StudyError: No arm was measured at every budget.
    """
    predicted = _foretell(at[: len(plan.budgets)], plan).predicted
    if predicted:
        said = {arm: {UNITS[plan.unit][2]: cost, **asdict(guess)} for arm, (cost, guess) in predicted.items()}
        write_json(folder / PREDICTION, {"hold_out": plan.hold_out, "arms": said})


def write_scale_report(at: Sequence[Results], plan: ScalePlan, folder: Path) -> list[Table]:
    """Write figure, report.html, scale.md, verdict.json and the evidence of each budget; return the tables.

    Args:
        at: The study at each budget, the one that was held out last.
        plan: What was asked.
        folder: Where the report goes.
    """
    told = _foretell(at, plan)
    picture = scale_figure(told.by_budget, told.laws, told.found, plan.unit)
    save(picture, folder / FIGURE)
    said, tables = write_scale_texts(at, plan, folder)
    beside = next((one for one in tables if one.title == HELD_OUT), tables[0])
    _write_page(folder / "report.html", said, picture, _BUDGETS_CAPTION, beside, tables)
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
    told, results = _foretell(at, plan), at[-1]
    tables = [fits_table(told.laws, told.by_budget, plan.unit)]
    if told.predicted:
        tables.append(held_out_table(told.predicted, told.found, plan.unit))
    tables += shared_steps_table(at)
    headline = next(iter(results.groups), "")
    seeds = min(results.seeds(label)[0] for label in results.study.labels)
    of_largest = verdict_record(results)
    said = replace(
        of_largest,
        study=plan.name,
        answer=scale_answer(told.laws, told.by_budget, told.predicted, told.found, plan.unit),
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
    tables = found.tables
    _write_page(path, said, figure, _WORLDS_CAPTION, tables[0], tables)
    return path


def _write_page(
    path: Path, said: Any, picture: Figure, caption: str, beside: Table, tables: Sequence[Table]
) -> None:
    """Write a page: headline, picture and a table beside each other, the other tables below.

    Args:
        path: The page.
        said: What it says, with the fields of a `VerdictRecord` from ``study`` to ``setting``.
        picture: The picture.
        caption: What it shows and how to read it.
        beside: The table beside it.
        tables: All tables.
    """
    content = {"said": said, "caption": caption, "beside": beside, "tables": tables}
    write_page(path, "answer.html.j2", picture=data_uri(svg(picture).encode(), "svg+xml"), **content)
