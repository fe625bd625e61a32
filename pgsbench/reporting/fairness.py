"""What differs between the arms of a study besides their masks: nothing, where a comparison is fair.

A mask is what is left out of pictures and of captions: the strategy and the text strategy.
"""

from __future__ import annotations

from functools import lru_cache

from pgsbench.records.run_spec import RunSpec, flatten, short, short_paths
from pgsbench.reporting import words
from pgsbench.reporting.render import Header, Table
from pgsbench.reporting.results import Results
from pgsbench.reporting.tuned import tuned_paths

#: Of arms that open_clip_train has trained (`pgsbench runs import`).
_FOREIGN = (
    "That is what open_clip_train's parameters say. Not known are the pairs that were seen and their order, "
    "which equal seeds need not share, the versions of the code, and what the trainings cost."
)


@lru_cache(maxsize=4)  # asked for a sentence and for a table
def other_differences(results: Results) -> dict[str, dict[str, str]]:
    """Return what differs between the compared arms besides the mask: dotted path -> label -> value.

    Empty for a fair comparison: the fields of both strategies are not listed, everything else is. Arms of the
    study that are neither candidate nor baseline do not count.
    """
    settings: dict[str, dict[str, str]] = {}
    for label, specs in _compared(results).items():
        every = [flatten({**spec.training, "numerics": vars(spec.numerics)}) for spec in specs]
        # Seeds of an arm may differ, too: one of them may come from another machine.
        settings[label] = {
            path: ", ".join(dict.fromkeys(short(one[path]) for one in every)) for path in every[0]
        }
    paths = dict.fromkeys(path for of_label in settings.values() for path in of_label)
    of_masks = [path for path in paths if path.startswith(("strategy.", "text.")) or path == "seed"]
    of_masks += tuned_paths(results)  # each arm at its own best
    if _budget(results):  # how many pairs an arm sees follows from what they cost under its mask
        of_masks.append("training.samples")
    values = {
        path: {label: of_label.get(path, "not set") for label, of_label in settings.items()}
        for path in paths
        if path not in of_masks
    }
    # Over data arms meet at equal points only; what differs between points is what is asked.
    pairs = (
        results.pairs if results.is_over_data else [(one, other) for one in settings for other in settings]
    )
    return {
        path: by_label
        for path, by_label in values.items()
        if any(by_label[one] != by_label[other] for one, other in pairs)
    }


def fairness_table(results: Results) -> Table | None:
    """`other_differences` as a table; None where arms differ in nothing but the mask."""
    found = other_differences(results)
    if not found:
        return None
    rows: list[list[object]] = [
        [path, value, ", ".join(label for label, one in by_label.items() if one == value)]
        for path, by_label in found.items()
        for value in dict.fromkeys(by_label.values())
    ]
    header: Header = ["setting", "value", "arms"]
    return Table("What else differs between the arms", header, rows)


def fairness_sentence(results: Results) -> str:
    """Return that compared arms differ in nothing but the mask, and what is not known of foreign runs.

    Empty where they differ in more: a badge says in what.
    """
    said = (
        ""
        if other_differences(results)
        else words.fair(
            masks_that_differ(results), _budget(results), list(short_paths(tuned_paths(results)).values())
        )
    )
    is_foreign = any(spec.foreign for specs in _compared(results).values() for spec in specs)
    return f"{said} {_FOREIGN}".strip() if is_foreign else said


def _compared(results: Results) -> dict[str, list[RunSpec]]:
    labels = [label for arm in (results.candidate, *results.baselines) for label in results.labels_of(arm)]
    return {label: [run.spec for run in results.study.of(label)] for label in labels}


def _budget(results: Results) -> str:
    """Return what all compared arms may spend, in words; empty where they have no common budget."""
    budgets = [spec.config.budget for specs in _compared(results).values() for spec in specs]
    first = budgets[0]
    if first is None or any(budget != first for budget in budgets):
        return ""
    if first.equal == "flops":
        return f"{first.amount / 1e12:,.4g} TFLOP of both towers"
    if first.equal == "seconds":
        return f"{first.amount:,.4g} seconds of training steps, as timed before the training"
    what = "pairs" if first.equal == "samples" else "tokens of both towers"
    return f"{first.amount:,.0f} {what}"


def masks_that_differ(results: Results) -> str:
    """Return what of the masks differs between the compared arms, in words."""
    trained = [spec.training for specs in _compared(results).values() for spec in specs]
    first = trained[0]
    if all(spec.get("text") == first.get("text") for spec in trained):
        return "the mask"
    if all(spec["strategy"] == first["strategy"] for spec in trained):
        return "the tokens of the captions that are read"
    return "the mask and the tokens of the captions that are read"
