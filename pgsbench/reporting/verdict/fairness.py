"""What differs between the arms of a study besides their masks: nothing, where a comparison is fair.

A mask is what is left out of pictures and of captions: the strategy and the text strategy.
"""

from __future__ import annotations

from pgsbench.records.run_spec import RunSpec, flatten, short
from pgsbench.reporting.render import Header, Table, and_
from pgsbench.reporting.results import Results


def other_differences(results: Results) -> dict[str, dict[str, str]]:
    """Return what differs between the compared arms besides the mask: dotted path -> label -> value.

    Empty for a fair comparison: the fields of both strategies are not listed, everything else is. Arms of the
    study that are neither candidate nor baseline do not count.
    """
    flat: dict[str, dict[str, str]] = {}
    for label in _compared(results):
        settings = [_settings(spec) for spec in _specs(results, label)]
        # Seeds of an arm may differ, too: one of them may come from another machine.
        flat[label] = {
            path: ", ".join(dict.fromkeys(short(one[path]) for one in settings)) for path in settings[0]
        }
    paths = list(dict.fromkeys(path for config in flat.values() for path in config))
    if _budget(results):  # how many pairs an arm sees follows from what they cost under its mask
        paths.remove("training.samples")
    values = {path: {label: config.get(path, "not set") for label, config in flat.items()} for path in paths}
    found = {path: by_label for path, by_label in values.items() if len(set(by_label.values())) > 1}
    if results.is_over_data:  # arms meet at equal points only; what differs between points is what is asked
        found = {
            path: by_label
            for path, by_label in found.items()
            if any(by_label[ours] != by_label[theirs] for ours, theirs in results.pairs)
        }
    return found


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


def _settings(spec: RunSpec) -> dict[str, object]:
    """Return all that decides a run besides its mask and its seed, by dotted path."""
    flat = flatten({**spec.training, "numerics": vars(spec.numerics)})
    return {
        path: value
        for path, value in flat.items()
        if not path.startswith(("strategy.", "text.")) and path != "seed"
    }


def _compared(results: Results) -> list[str]:
    labels = [label for arm in (results.candidate, *results.baselines) for label in results.labels_of(arm)]
    return list(dict.fromkeys(labels))


def _specs(results: Results, label: str) -> list[RunSpec]:
    return [run.spec for run in results.study.of(label)]


def _budget(results: Results) -> str:
    """Return what all compared arms may spend, in words; empty where they have no common budget."""
    budgets = [spec.config.budget for label in _compared(results) for spec in _specs(results, label)]
    first = budgets[0]
    if first is None or any(budget != first for budget in budgets):
        return ""
    if first.equal == "flops":
        return f"{first.amount / 1e12:,.4g} TFLOP of both towers"
    if first.equal == "seconds":
        return f"{first.amount:,.4g} seconds of training steps, as timed before the training"
    what = "pairs" if first.equal == "samples" else "tokens of both towers"
    return f"{first.amount:,.0f} {what}"


def _masks(results: Results) -> str:
    """Return what of the masks differs between the compared arms, in words."""
    trained = [spec.training for label in _compared(results) for spec in _specs(results, label)]
    texts = [spec.get("text") for spec in trained]
    if all(text == texts[0] for text in texts):
        return "the mask"
    if all(spec["strategy"] == trained[0]["strategy"] for spec in trained):
        return "the tokens of the captions that are read"
    return "the mask and the tokens of the captions that are read"


def fairness_sentence(results: Results) -> str:
    """Return what a reader must know of all that differs between the compared arms besides the mask."""
    found, masks = list(other_differences(results)), _masks(results)
    budget = _budget(results)
    if budget:
        masks += f", at an equal budget of {budget}"
    if not found:
        return f"The arms differ in nothing but {masks}."
    return f"The arms differ in more than {masks}: {and_(found)}. The table below gives the values."
