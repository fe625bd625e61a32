"""What differs between the arms of a study besides the mask: nothing, where a comparison is fair."""

from __future__ import annotations

from pgsbench.reporting.render import Table
from pgsbench.reporting.results import Results
from pgsbench.tracking.content import flatten
from pgsbench.tracking.manifest import short

#: Parts of a configuration that differ by nature: between the runs of one arm, or without any effect.
_NOT_COMPARED = ("seed",)


def config_differences(results: Results) -> dict[str, dict[str, str]]:
    """Return what differs between the compared arms besides the mask: dotted path -> label -> value.

    Empty for a fair comparison: the strategy's own fields are not listed, everything else is. Arms of the
    study that are neither candidate nor baseline do not count.
    """
    flat: dict[str, dict[str, str]] = {}
    compared = [label for arm in (results.candidate, *results.baselines) for label in results.labels_of(arm)]
    for label in dict.fromkeys(compared):
        known = [run for run in results.study.of(label) if run.config]
        if known:
            config = {**known[0].config, "data_fingerprint": known[0].record.get("data_fingerprint", "")}
            flat[label] = {
                path: short(value) for path, value in flatten(config).items() if not _is_mask(path)
            }
    paths = list(dict.fromkeys(path for config in flat.values() for path in config))
    values = {path: {label: config.get(path, "not set") for label, config in flat.items()} for path in paths}
    return {path: by_label for path, by_label in values.items() if len(set(by_label.values())) > 1}


def config_table(results: Results) -> Table | None:
    """`config_differences` as a table; None where arms differ in nothing but the mask."""
    found = config_differences(results)
    if not found:
        return None
    labels = list(next(iter(found.values())))
    rows = [[path, *(by_label[label] for label in labels)] for path, by_label in found.items()]
    header = ["setting", *labels]
    return Table("What else differs between the arms", header, rows, text_columns=range(1, len(header)))


def _is_mask(path: str) -> bool:
    return path.startswith("strategy.") or path in _NOT_COMPARED
