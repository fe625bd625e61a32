"""The report of a study at several budgets: its page, what was foretold, and the evidence of each budget."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from pgsbench import __version__
from pgsbench.disk.whole_files import atomic
from pgsbench.errors import StudyError
from pgsbench.records import files
from pgsbench.records.json_files import read_record, write_json, write_record
from pgsbench.records.verdict_record import VerdictRecord
from pgsbench.reporting.evidence import write_evidence
from pgsbench.reporting.pages.first_screen import verdict_record
from pgsbench.reporting.pages.templates import environment
from pgsbench.reporting.render import Table, counted, markdown
from pgsbench.reporting.results import Results, named
from pgsbench.reporting.scale.fit import PowerLaw, Predicted
from pgsbench.reporting.scale.report import (
    UNITS,
    Measured,
    fits,
    fits_table,
    held_out_table,
    measured,
    scale_answer,
    scale_figure,
)
from pgsbench.reporting.statistics.comparison import of_one_run
from pgsbench.reporting.style import save

FIGURE, PLAN, PREDICTION = "scale.png", "scale.json", "prediction.json"
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
    by_budget: list[dict[str, Measured]]
    laws: dict[str, PowerLaw]
    predicted: dict[str, tuple[float, Predicted]]


def _foretell(at: Sequence[Results], plan: ScalePlan) -> _Foretold:
    by_budget = [measured(results, plan.unit) for results in at[: len(plan.budgets)]]
    laws = fits(by_budget)
    if not laws:
        raise StudyError(f"no arm has a score and {plan.unit} at every budget", where=plan.name)
    if plan.hold_out is None:
        return _Foretold(by_budget, laws, {})
    grown = plan.hold_out / plan.budgets[-1]  # every unit grows with the samples
    costs = {arm: by_budget[-1][arm].cost * grown for arm in laws}
    return _Foretold(
        by_budget, laws, {arm: (costs[arm], law.predict(costs[arm])) for arm, law in laws.items()}
    )


def write_prediction(at: Sequence[Results], plan: ScalePlan, folder: Path) -> None:
    """Write ``prediction.json``, where a budget is held out.

    Raises:
        StudyError: No arm was measured at every budget.
    """
    predicted = _foretell(at, plan).predicted
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
    foretold = _foretell(at, plan)
    found = _held_out(at, plan)
    save(scale_figure(foretold.by_budget, foretold.laws, found, plan.unit), folder / FIGURE)
    tables = write_scale_texts(at, plan, folder)
    picture = "data:image/png;base64," + base64.b64encode((folder / FIGURE).read_bytes()).decode()
    said = _verdict(at, plan, foretold, found)
    page = environment().get_template("scale.html.j2")
    with atomic(folder / "report.html") as scratch:
        text = page.render(said=said, tables=tables, picture=picture, version=__version__)
        scratch.write_text(text, encoding="utf-8")
    write_record(folder / PLAN, plan)
    for name, results in zip(plan.folders, at, strict=True):
        write_evidence(
            results.study, results.candidate, results.baselines, results.all_borrowed(), folder / name
        )
    return tables


def write_scale_texts(at: Sequence[Results], plan: ScalePlan, folder: Path) -> list[Table]:
    """Write `SCALE_TEXTS` alone, and return the tables; see `write_scale_report`."""
    foretold, found = _foretell(at, plan), _held_out(at, plan)
    tables = [fits_table(foretold.laws, foretold.by_budget, plan.unit)]
    if foretold.predicted:
        tables.append(held_out_table(foretold.predicted, found, plan.unit))
    said = _verdict(at, plan, foretold, found)
    parts = [
        f"# {plan.name}\n",
        f"{said.answer} {said.certainty}\n",
        f"![Error against budget]({FIGURE})\n",
    ]
    parts += [f"## {one.title}\n\n{markdown(one)}" for one in tables]
    with atomic(folder / "scale.md") as scratch:
        scratch.write_text("\n".join(parts), encoding="utf-8")
    said.write(folder)
    return tables


def _held_out(at: Sequence[Results], plan: ScalePlan) -> dict[str, Measured]:
    return {} if plan.hold_out is None else measured(at[-1], plan.unit)


def _verdict(
    at: Sequence[Results], plan: ScalePlan, foretold: _Foretold, found: Mapping[str, Measured]
) -> VerdictRecord:
    results = at[-1]
    headline = next(iter(results.groups), "")
    seeds = min(results.seeds(label)[0] for label in results.study.labels)
    of_largest = verdict_record(results)
    return replace(
        of_largest,
        study=plan.name,
        answer=of_one_run(scale_answer(foretold.laws, foretold.predicted, found), seeds),
        certainty=f"On {named(headline)}: {counted(seeds, 'seed')}; power laws through "
        f"{counted(len(plan.budgets), 'budget')}, 95 % intervals of a new measurement.",
        setting=f"The largest budget. {of_largest.setting}",
        outcomes={},
        compared={},
    )
