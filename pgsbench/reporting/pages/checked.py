"""Whether the numbers of a report follow from the evidence beside it."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from itertools import islice, zip_longest
from pathlib import Path
from tempfile import TemporaryDirectory

from pgsbench.reporting.evidence import unpacked
from pgsbench.reporting.pages.answer_pages import (
    PREDICTION,
    SCALE_TEXTS,
    ScalePlan,
    write_prediction,
    write_scale_texts,
)
from pgsbench.reporting.pages.study_report import TEXTS, figures_in, write_texts
from pgsbench.reporting.results import Results
from pgsbench.reporting.study_frames import read_frames

#: Differences that are told of a file.
MOST_TOLD = 3

#: A number of more characters is one in full, whose last digits depend on the processor.
_IN_FULL = 12


@contextmanager
def evident_results(
    folder: Path, *, candidate: str | None = None, baselines: Sequence[str] | None = None
) -> Iterator[Results]:
    """Hand out the results behind a report, read from its evidence; they are its own unless others are named.

    Raises:
        StudyError: There is no evidence, or it is damaged.
    """
    with unpacked(folder) as (study, evidence):
        if candidate is None and baselines is None:
            candidate, baselines = evidence.candidate, evidence.baselines or None
        yield Results(read_frames(study), candidate=candidate, baselines=baselines)


def check_report(folder: Path) -> list[str]:
    """Make the numbers of a report again from its evidence; return the first differences, a line each.

    Figures and the HTML page are not compared.

    Raises:
        StudyError: There is no evidence, or it is damaged.
    """
    plan = ScalePlan.read(folder)
    folders = [folder] if plan is None else [folder / name for name in plan.folders]
    with ExitStack() as stack:
        again = Path(stack.enter_context(TemporaryDirectory()))
        at = [stack.enter_context(evident_results(one)) for one in folders]
        if plan is None:
            names: Sequence[str] = TEXTS
            write_texts(at[0], again, figures_in(folder))
        else:
            names = SCALE_TEXTS if plan.hold_out is None else (*SCALE_TEXTS, PREDICTION)
            write_prediction(at, plan, again)
            write_scale_texts(at, plan, again)
        return [line for name in names for line in differences(folder / name, again / name)]


def differences(written: Path, again: Path) -> Iterator[str]:
    """Yield the first lines in which a file differs from one that was made again."""
    if not written.is_file():
        yield f"{written}: missing"
        return
    texts = [path.read_text(encoding="utf-8").splitlines() for path in (written, again)]
    numbered = enumerate(zip_longest(*texts, fillvalue=""), start=1)
    for number, both in islice((one for one in numbered if not _alike(*one[1])), MOST_TOLD):
        yield f"{written}:{number}: {_from_there(*both)}"


def _alike(ours: str, theirs: str) -> bool:
    words = [line.replace(",", " ").split() for line in (ours, theirs)]
    return len(words[0]) == len(words[1]) and all(map(_same, *words))


def _same(one: str, other: str) -> bool:
    if one == other or min(len(one), len(other)) <= _IN_FULL:
        return one == other
    try:
        return math.isclose(float(one), float(other), rel_tol=1e-9, abs_tol=1e-12)
    except ValueError:
        return False


def _from_there(ours: str, theirs: str) -> str:
    """Tell two lines that differ in a few words: from where they do."""
    same = next(i for i, (a, b) in enumerate(zip_longest(ours, theirs)) if a != b)
    start = max(0, same - 30)
    said, made = (line[start : same + 40] for line in (ours, theirs))
    return f"{said!r}, and the outcomes give {made!r}"
