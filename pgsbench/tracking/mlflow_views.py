"""How a study opens in MLflow's pages: all its runs side by side, with the columns that matter.

MLflow lists a study as one collapsed row without scores, and its charts stay empty until that row is
opened. A list sorted by a metric is flat instead, and a saved view (what the page's own "share" button
stores, as a tag of the experiment) brings filter, order and columns along.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from urllib.parse import quote

from pgsbench.colours import label_colours
from pgsbench.records.study_record import StudyRecord
from pgsbench.tracking.mlflow_text import run_params
from pgsbench.tracking.rundir import RunDir

#: Columns of a view beside the scores.
COST = (
    "summary/samples_per_second",
    "summary/training_time",
    "summary/mask_ratio_over_training",
    "summary/mask_overlap",
)
#: Sections of charts, the first on top: curves, then bars.
SECTIONS = ("train", "score")
#: Runs of a label are a group, which shows their mean.
_SEEDS_TOGETHER = {"aggregateFunction": "average", "groupByKeys": [{"mode": "tag", "groupByData": "label"}]}
#: Params shown in a view: those in which the runs differ, the first ones.
MAX_PARAMS = 4


def view_tag(study: str, kind: str = "run") -> str:
    """Return the experiment's tag that holds the view of a study's runs, or of its arms."""
    return f"mlflow.sharedViewState.{_view_key(study, kind)}"


def view_state(study: str, groups: Sequence[str], runs: Iterable[RunDir], kind: str = "run") -> str:
    """Return the view of a study as the page stores it: its runs alone, or its arms.

    Args:
        study: Name of the study.
        groups: Columns of scores; the best of the first column comes first.
        runs: Its runs; their differing params are columns of the view of runs.
        kind: ``"run"`` or ``"arm"``.
    """
    scores = [f"metrics.`score/{group}`" for group in groups]
    costs = [f"metrics.`{name}`" for name in COST]
    params = [f"params.`{name}`" for name in _differing(runs)]
    state = {
        "searchFilter": f"tags.study = '{study}' and tags.kind = '{kind}'",
        "orderByKey": scores[0] if scores else costs[0],
        "orderByAsc": False,
        "selectedColumns": [*scores, *costs, *params] if kind == "run" else ["tags.`verdict`", *scores],
        "groupBy": _SEEDS_TOGETHER if kind == "run" else None,
        # Charts come in sections by the first part of a metric's name, by default in alphabetical order.
        "compareRunCharts": [],
        "compareRunSections": [
            {"uuid": f"pgsbench-{name}", "name": name, "display": True, "isReordered": True}
            for name in SECTIONS
        ],
        "isAccordionReordered": True,
    }
    return json.dumps(state)


def runs_path(experiment_id: str, study: str, *, charts: bool = False, kind: str = "run") -> str:
    """Return where a study's runs or arms are, relative to the server's address: as a table or charts."""
    mode = "&compareRunsMode=CHART" if charts else ""
    where = f"#/experiments/{experiment_id}/runs?workflowType=machine_learning"
    return f"{where}&viewStateShareKey={_view_key(study, kind)}{mode}"


def study_path(experiment_id: str, parent_id: str) -> str:
    """Return where a study's own run is, relative to the server's address."""
    return f"#/experiments/{experiment_id}/runs/{parent_id}?workflowType=machine_learning"


def colours(record: StudyRecord) -> dict[str, str]:
    """Return a colour for each arm or trial (`RunSpec.label`): its seeds look alike, as in the report."""
    return label_colours({run.spec.label: run.spec.arm for run in record.runs})


def _view_key(study: str, kind: str) -> str:
    return quote(f"pgsbench-{study}" + ("" if kind == "run" else f"-{kind}s"), safe="")


def _differing(runs: Iterable[RunDir]) -> list[str]:
    values: dict[str, set[str | None]] = {}
    configs: list[Mapping[str, str]] = [run_params(run.spec.config.model_dump(mode="json")) for run in runs]
    for name in dict.fromkeys(name for config in configs for name in config):
        values[name] = {config.get(name) for config in configs}
    return [name for name, found in values.items() if len(found) > 1 and name != "seed"][:MAX_PARAMS]
