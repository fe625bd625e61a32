"""The report of a study: one Markdown page, one HTML page that needs no other file, and the numbers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pgsbench.records import files
from pgsbench.reporting import figures, render, tables
from pgsbench.reporting.decision.comparisons import comparisons_frame, group_comparisons
from pgsbench.reporting.evidence import write_evidence
from pgsbench.reporting.pages.examples import examples
from pgsbench.reporting.pages.first_screen import verdict_record
from pgsbench.reporting.pages.published import beside_paper, cells_table, means_table
from pgsbench.reporting.pages.templates import environment, write_page, write_text
from pgsbench.reporting.render import and_, counted
from pgsbench.reporting.results import Results
from pgsbench.reporting.search import sweep_tables, where
from pgsbench.reporting.search.effects_tables import effects_missing, effects_tables
from pgsbench.reporting.statistics.comparison import of_one_run
from pgsbench.reporting.statistics.intervals import Interval
from pgsbench.reporting.style import save
from pgsbench.reporting.verdict.arm_ranking import ranking_table
from pgsbench.reporting.verdict.fairness import fairness_sentence, fairness_table
from pgsbench.reporting.verdict.sentences import caveats, verdict
from pgsbench.reporting.verdict.short_table import marks_table, verdict_table


@dataclass(frozen=True)
class Picture:
    """A figure in a page.

    Attributes:
        name: Name of its file without ending.
        caption: What it shows and how to read it.
        alt: The same for who cannot see it: what stands out, in words.
        png: Its pixels; empty where only its words are asked for.
    """

    name: str
    caption: str
    alt: str
    png: bytes = b""


_CAPTIONS = {
    "differences": "Candidate minus baseline, in points, with 95 % intervals; right of the line the "
    "candidate is better. Filled dots: better or worse, corrected, in the better arm's colour.",
    "where": "Gain of the candidate in points over two knobs of the data: blue where it leads, red where it "
    "trails; ▲ better, ▼ worse. A line parts them where it is better at some points and worse at others.",
    "ratio-accuracy": "Score against mask ratio, with 95 % bands; dotted: trained on whole pictures.",
    "accuracy-cost": "Score against cost; upper left is best. Filled, on the line: the Pareto front, which "
    "nothing that costs no more beats. Bars: 95 % intervals. Small text: the searched values.",
    "masks": "The same training pictures under each arm's mask, at the end of training. Blank patches had no "
    "influence.",
    "loss": "Training loss, mean over seeds (thin: single seeds). Losses of different masks do not compare: "
    "each sees other parts of the pictures.",
}


#: Files of a report whose every number follows from its evidence.
TEXTS = ("report.md", "scores.csv", "comparisons.csv", "tables.tex", files.VERDICT)


def write_report(results: Results, out_folder: Path, *, from_evidence: bool = False) -> Path:
    """Write report.md and .html, figures/, numbers, verdict.json and evidence of a study; returns the folder.

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
        write_evidence(
            results.study, results.candidate, results.baselines, results.all_borrowed(), out_folder
        )
    write_page(out_folder / "report.html", "report.html.j2", **content)
    return out_folder


def write_texts(results: Results, out_folder: Path, figures: Sequence[str]) -> None:
    """Write `TEXTS` alone, in which the figures of these names are linked; none is drawn."""
    _write_texts(results, _content(results, [_described(name, results) for name in figures]), out_folder)


def _write_texts(results: Results, content: dict[str, Any], out_folder: Path) -> None:
    texts = (
        environment().get_template("report.md.j2").render(content),
        results.study.scores.to_csv(index=False),
        comparisons_frame(results).to_csv(index=False),
        "\n".join(render.latex(table) for table in content["all_tables"]),
    )
    for name, text in zip(TEXTS, texts, strict=False):  # the verdict has a writer of its own
        write_text(out_folder / name, text)
    content["first"].write(out_folder)


def _content(results: Results, pictures: Sequence[Picture]) -> dict[str, Any]:
    study, beside = results.study, beside_paper(results)
    shown = {
        "scores": tables.scores_table(results),
        "differences": tables.differences_table(results) if results.pairs else None,
        "ranking": ranking_table(results),
        "paper": means_table(results, beside),
        "paper_cells": cells_table(beside),
        "gap": tables.gap_table(results),
        "where": where.where_table(results),
        "sweep": sweep_tables.sweep_table(results),
        "importance": sweep_tables.importance_table(results),
        "cost": tables.cost_table(results),
        "tasks": tables.tasks_table(results),
        "task_differences": tables.task_differences_table(results) if results.pairs else None,
        "masks": tables.mask_table(results),
        "config": fairness_table(results),
    }
    of_effects, items = effects_tables(results), examples(results)
    verdict_of, said = said_once(verdict(results))
    listed = [table for table in shown.values() if table is not None]
    return {
        "title": study.name,
        "question": study.record.config.question,
        "asked": _asked(results),
        "verdict": said,
        "verdict_of": verdict_of,
        "fairness": fairness_sentence(results),
        "caveats": caveats(results),
        "problems": study.problems,
        "first": verdict_record(results),
        "short": verdict_table(results),
        "marks": marks_table(results),
        "tables": {**shown, "runs": _runs_table(results)},
        "effects": of_effects,
        "no_effects": effects_missing(results),
        "items": items,
        "all_tables": [*listed, *of_effects, *([items.tasks] if items and items.tasks else [])],
        "pictures": {picture.name: picture for picture in pictures},
        "command": study.record.command,
        "source": study.record.source.strip(),
        "facts": _facts(results),
    }


def said_once(sentences: list[str]) -> tuple[str, list[str]]:
    """Return what all sentences begin with where each rests on one seed, and the sentences without it."""
    first = of_one_run("", 1)
    if not sentences or not all(sentence.startswith(first) for sentence in sentences):
        return "", sentences
    return first.strip(), [sentence.removeprefix(first) for sentence in sentences]


def _asked(results: Results) -> str:
    study = results.study
    done = sum(run.state == "done" for run in study.runs)
    seeds = sorted({run.seed for run in study.runs})
    others = [arm for arm in study.arms if arm != results.candidate and arm not in study.oracles]
    told = results.baselines and set(results.baselines) != set(others)
    compared = f"Compared: {results.candidate} with {and_(results.baselines)}. " if told else ""
    complete = f"{done} of {len(study.runs)} runs" if done < len(study.runs) else f"{done} runs"
    complete += f", {pruned} pruned" if (pruned := sum(run.state == "pruned" for run in study.runs)) else ""
    trained = f"{counted(len(seeds), 'seed')} ({', '.join(map(str, seeds))})"
    return f"{compared}Arms: {', '.join(study.arms)}; {complete} complete, {trained}."


def _facts(results: Results) -> dict[str, str]:
    """What it takes to repeat the study, each value as found in the runs."""
    found: dict[str, dict[str, None]] = {}

    def note(name: str, value: object) -> None:
        if value not in (None, ""):
            found.setdefault(name, {})[str(value)] = None

    for run in results.study.runs:
        config = run.spec.config
        note("training data", config.data.source)
        note("content of the data", run.spec.data)
        if run.summary and run.summary.bad_samples:
            bad = [f"{count:,} {reason}" for reason, count in run.summary.bad_samples.items()]
            note("samples that could not be used", ", ".join(bad))
        note("model", config.model.name)
        note("training pairs seen", config.training.samples)
        note("batch size", config.training.batch_size)
        note("suite", f"{run.scores.suite}, version {run.scores.suite_version}" if run.scores else "")
        note("numerics", run.spec.numerics)
        if run.environment:
            note("device", run.environment.device)
            note("source", run.environment.git and f"commit {run.environment.git}")
            note("versions", ", ".join(f"{name} {is_}" for name, is_ in run.environment.versions.items()))
    return {name: "; ".join(values) for name, values in found.items()}


def _runs_table(results: Results) -> render.Table:
    rows = [
        [run.label, run.seed, run.state, run.spec.id, Path("runs", *run.path.parts[-2:]).as_posix()]
        for run in results.study.runs
    ]
    header: render.Header = ["arm", ("seed", render.COUNT), "state", "id", "directory"]
    return render.Table("Runs", header, rows)


def _pictures(results: Results, folder: Path, *, keep: bool) -> list[Picture]:
    found = []
    for name, draw in figures.ALL.items():
        path, figure = folder / f"{name}.png", draw(results)
        if figure is not None:
            save(figure, path)
        if figure is not None or (keep and path.is_file()):
            found.append(replace(_described(name, results), png=path.read_bytes()))
    return found


def _described(name: str, results: Results) -> Picture:
    num_seeds = _seeds_behind(name, results)
    caption, alt = (of_one_run(said, num_seeds) for said in (_CAPTIONS[name], _alt(name, results)))
    return Picture(name, caption, alt)


def _seeds_behind(name: str, results: Results) -> int:
    """Return how many seeds a figure rests on: in one of numbers, of the arm that has the fewest."""
    if name == "masks":
        return 1
    if name == "differences":
        pairs = [one.interval for one in group_comparisons(results) if isinstance(one.interval, Interval)]
        return min((interval.num_seeds for interval in pairs), default=0)
    done = [results.seeds(label)[0] for label in results.study.labels]
    return min((number for number in done if number), default=0)


def _alt(name: str, results: Results) -> str:
    arms = ", ".join(results.study.arms)
    if name == "differences":
        found = [f"{one.pair} on {one.of}: {one.outcome}" for one in group_comparisons(results)]
        return "Forest plot of differences. " + "; ".join(found) + "."
    if name == "where":
        return "Heat map of the gain over two knobs. " + " ".join(where.where_sentences(results))
    if name == "ratio-accuracy":
        panels = ", ".join(results.groups)
        return f"Line plots of score against mask ratio for {arms}, one panel for each of {panels}."
    if name == "accuracy-cost":
        return f"Scatter plots of score against cost for {arms}; the values are in the tables."
    if name == "masks":
        return f"Training pictures with the masked patches blank, one column each for {arms}."
    return f"Line plot of training loss against training pairs seen for {arms}."
