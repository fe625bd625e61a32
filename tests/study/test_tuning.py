"""Arms are tuned alike, each by itself, on seeds and test items that no comparison uses."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
from tinyworld import TinyWorld

from pgsbench.errors import ConfigError, StudyError
from pgsbench.evaluation.evaluate import half_of
from pgsbench.evaluation.protocols.base import Measurement
from pgsbench.records.study_record import StudyRecord
from pgsbench.reporting.tuned import tuning
from pgsbench.session.opening import open_study
from pgsbench.study.open import open_by_name

RATE = "training.learning_rate"
TUNE = {
    "search": None,
    "tune": {"space": {"training.learning_rate": {"low": 1e-4, "high": 1e-1, "log": True}}, "trials": 3},
}


@pytest.fixture(autouse=True)
def tracking(tmp_path, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/mlflow.db")


def opened(tiny: TinyWorld, tmp_path, **tune):
    overrides = {**TUNE, "tune": {**TUNE["tune"], **tune}}
    return open_study(tiny.study, overrides=overrides, output=tmp_path, jobs=1, device="cpu")


def test_each_arm_gets_as_many_points_and_is_compared_at_its_own_best(tiny, tmp_path):
    study = opened(tiny, tmp_path)
    results = study.compare(["flip"])
    record = StudyRecord.read(tmp_path / "runs" / study.name)
    found = {one.arm: one for one in record.tunings}
    assert {arm: len(one.tried) for arm, one in found.items()} == {"pgs": 3, "flip": 3}
    firsts = {arm: [point.params for point in one.tried] for arm, one in found.items()}
    assert firsts["pgs"][:2] == firsts["flip"][:2]  # the arm's own values, then the same draw
    for run in results.statistics.study.runs:
        best = max((point for point in found[run.arm].tried), key=lambda point: point.score)
        assert run.spec.config.training.learning_rate == best.params["training.learning_rate"]
        assert run.seed == 0
        assert run.label == run.arm
    tuned = study.beside(study.design.tuning(study.arms)).results()
    assert {run.seed for run in tuned.statistics.study.runs} == {100}
    compared, chosen_on = items_of(results), items_of(tuned)
    assert compared
    assert chosen_on
    assert not compared & chosen_on
    # The same call trains nothing: values are found again, not chosen anew. Another arm is tuned alone.
    again = opened(tiny, tmp_path)
    again.compare(["flip"])
    assert again.worked.startswith("0 trained")
    again.compare(["none"])
    record = StudyRecord.read(tmp_path / "runs" / study.name)
    assert {one.arm: len(one.tried) for one in record.tunings} == {"pgs": 3, "flip": 3, "none": 3}


def items_of(results):
    return {
        f"{task} {item}"
        for by_task in results.statistics.study.values.values()
        for task, by_seed in by_task.items()
        for one in by_seed.values()
        for item in one.items
    }


def test_a_best_on_the_border_is_said():
    def found(*scores):
        label_of = {
            f"pgs {n}": ({RATE: 10.0**-n, "strategy.edge": "none"}, score) for n, score in enumerate(scores)
        }
        results = SimpleNamespace(
            labels_of=lambda _: list(label_of),
            objective_value=lambda label: label_of[label][1],
            params_of=lambda label: label_of[label][0],
            study=SimpleNamespace(name="made-up"),
        )
        return tuning(results, "pgs")

    assert found(0.3, 0.2, 0.1).at_border == (RATE,)
    assert found(0.1, 0.2, 0.3).at_border == (RATE,)
    assert found(0.1, 0.3, 0.2).at_border == ()
    assert found(0.1, 0.2).at_border == ()
    failed = found(float("nan"), 0.3, 0.2)
    assert [one.score for one in failed.tried] == [None, 0.3, 0.2]
    assert failed.params[RATE] == 0.1
    with pytest.raises(StudyError, match="no point of this arm has a score"):
        found(float("nan"))


def test_a_tuning_goes_on_where_it_was(tiny, tmp_path):
    study = opened(tiny, tmp_path)
    before = study.beside(study.design.tuning(["pgs"]))
    before.sweep(trials=1)
    tuned = opened(tiny, tmp_path)
    (found,) = tuned.tune(["pgs"])
    assert len(found.tried) == 3
    assert tuned.worked.startswith("2 trained, 1 reused")


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"tune.seeds": [0]}, "seeds that tune an arm compare nothing"),
        ({"tune.space": {"strategy.mask_ratio": [0.5, 1.5]}}, "mask_ratio"),
        ({"tune.metric": "nothing"}, "no such score"),
        ({"evaluation.half": "dev"}, "other items"),
        ({"search": {"space": {"strategy.mask_ratio": [0.5, 0.75]}}}, "not both"),
    ],
)
def test_mistakes_are_said_before_anything_runs(tiny, changed, said):
    overrides = {**TUNE, **changed}
    with pytest.raises(ConfigError, match=said):
        open_by_name(tiny.study, overrides=overrides)


def test_halves_share_no_unit_and_together_are_all():
    items = [f"i{i}" for i in range(40)]
    units = [f"set:{i // 2}" for i in range(40)]
    m = Measurement("acc1", np.arange(40) % 2.0, items, 0.5, units=units, strata=np.arange(40) % 3)
    dev, test = half_of(m, "dev"), half_of(m, "test")
    assert sorted([*dev.items, *test.items]) == sorted(items)
    assert not set(dev.units) & set(test.units)
    assert 10 <= len(dev.items) <= 30
    for half in (dev, test):
        rows = [items.index(item) for item in half.items]
        assert (half.correct == m.correct[rows]).all()
        assert (half.strata == m.strata[rows]).all()
    assert half_of(m, None) is m
