"""Budgets: power laws are found again, and a prediction stands before its measurement."""

from __future__ import annotations

import json
import re
import shutil

import numpy as np
import pandas as pd
import pytest
from fabricated import Arm, write_runs
from tinyworld import TinyWorld

from pgsbench.errors import ConfigError
from pgsbench.execution.estimate import Estimator
from pgsbench.records.verdict_record import VerdictRecord
from pgsbench.reporting.findings import Findings
from pgsbench.reporting.pages.site import write_site
from pgsbench.reporting.render import Table
from pgsbench.reporting.results import Results
from pgsbench.reporting.scale import Measured, PowerLaw, crossing, fits_table, scale_figure
from pgsbench.reporting.statistics.intervals import Interval
from pgsbench.reporting.study_frames import read_frames
from pgsbench.session.opening import open_study
from pgsbench.session.past_studies import check_report
from pgsbench.session.scaling import dry_run, scale
from pgsbench.session.study import Study
from pgsbench.study.budget import PairSeconds

BUDGETS = [0.25, 0.5, 1.0, 2.0]


def test_a_power_law_and_its_crossing_are_found_again():
    ours, theirs = (
        PowerLaw.fit(BUDGETS, [1 - a * x**b for x in BUDGETS], [1e-6] * 4)
        for a, b in ((0.5, -0.3), (0.4, -0.2))
    )
    assert (ours.slope, theirs.slope) == pytest.approx((-0.3, -0.2))
    assert ours.predict(4.0).score == pytest.approx(1 - 0.5 * 4**-0.3)
    assert crossing(ours, theirs) == pytest.approx((0.5 / 0.4) ** (1 / 0.1))
    assert crossing(ours, ours) is None


def test_what_is_held_out_is_predicted_before_it_is_trained(tiny: TinyWorld, tmp_path, monkeypatch):
    trained = []

    def train(self):
        factor = float(self.name.rpartition("x")[2])
        trained.append((factor, self.design.config.training.samples))
        if factor == 4:
            assert (tmp_path / "reports/tiny-scale/prediction.json").is_file()
        lead = 10 * np.log2(factor)
        arms = {"pgs": Arm(lead, flops=int(1e12 * factor)), "flip": Arm(lead / 2, flops=int(1e12 * factor))}
        folder = write_runs(tmp_path / "made", arms, name=self.name, seeds=(0, 1), num_items=60)
        return Findings(Results(read_frames(folder)))

    monkeypatch.setattr(Study, "train", train)
    twice = [*BUDGETS, 0.25]  # is one measurement all the same
    found = scale(open_study(tiny.study, output=tmp_path, jobs=1), twice, hold_out=4)
    assert trained == [(0.25, 32), (0.5, 48), (1.0, 96), (2.0, 192), (4.0, 384)]
    assert [row[0] for row in found.tables[1].cells()] == ["pgs", "flip"]
    assert {row[4] for row in found.tables[1].cells()} <= {"yes", "no"}
    assert float(found.tables[1].cells()[0][1]) == pytest.approx(4.0)
    said = json.loads((found.folder / "prediction.json").read_text())
    assert said["hold_out"] == 4
    assert 0 < said["arms"]["pgs"]["score"] < 1
    assert said["arms"]["pgs"]["TFLOP"] == pytest.approx(4.0)
    assert {"scale.md", "scale.png"} <= {path.name for path in found.folder.iterdir()}
    held = sum(row[4] == "yes" for row in found.tables[1].cells())
    said = VerdictRecord.read(found.folder)
    assert said.answer.endswith(f"; the prediction {'held' if held == 2 else 'failed'}.")
    assert len(said.answer.split()) <= 20
    assert said.certainty.startswith("On ")
    assert ": 2 seeds; power laws through 4 budgets" in said.certainty
    assert said.answer in (found.folder / "report.html").read_text()

    shutil.rmtree(tmp_path / "made")
    assert check_report(str(found.folder)) == []
    page = found.folder / "scale.md"
    page.write_text(page.read_text().replace(str(found.tables[1].cells()[0][2]), "9.9"))
    (told,) = check_report(str(found.folder))
    assert told.startswith(f"{page}:")
    site = write_site(tmp_path / "reports", tmp_path / "site")
    assert site.studies == ["tiny-scale"]
    assert "tiny-scale/prediction.json" in site.index.read_text()
    assert "tiny-scale/scores.csv" not in site.index.read_text()


def test_a_dry_run_plans_every_budget_and_trains_nothing(tiny: TinyWorld, tmp_path, monkeypatch):
    asked = []
    monkeypatch.setattr(Study, "dry_run", lambda self: asked.append(self) or pd.DataFrame())
    monkeypatch.setattr("pgsbench.session.scaling.plan_table", lambda name, _: Table(name, ["run"], []))
    found = dry_run(open_study(tiny.study, output=tmp_path, jobs=1), [*BUDGETS, 2.0], hold_out=4)
    assert [table.title for table in found] == ["tiny-x0.25", "tiny-x0.5", "tiny-x1", "tiny-x2", "tiny-x4"]
    assert [one.design.config.training.samples for one in asked] == [32, 48, 96, 192, 384]
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize("kind", ["tokens", "seconds"])
def test_a_budget_grows_in_place_of_the_samples(tiny: TinyWorld, tmp_path, monkeypatch, kind):
    timed = []

    def seconds(_, config):  # each time it takes longer
        timed.append(config.strategy.name)
        return PairSeconds(masked=1.0 * len(timed), whole=2.0 * len(timed))

    monkeypatch.setattr(Estimator, "seconds", seconds)
    planned = {}
    monkeypatch.setattr(Study, "dry_run", lambda self: planned.update({self.name: self.plan()}))
    monkeypatch.setattr("pgsbench.session.scaling.plan_table", lambda name, _: name)
    path = tmp_path / "study.yaml"
    path.write_text(
        f"data: {{train: {tiny.shards}}}\nmodel: tiny-vit\ntraining: {{batch_size: 4}}\n"
        f"budget: {{equal: {kind}, amount: 10_000}}\narms: {{none: {{strategy: none}}}}\n"
        f"evaluation: {{suite: '{tiny.suite}'}}\n"
    )
    dry_run(open_study(path, output=tmp_path, device="cpu"), BUDGETS)
    for arm in (0, 1):
        pairs = {name: specs[arm].config.training.samples for name, specs in planned.items()}
        spent = [pairs[f"study-x{budget:g}"] / budget for budget in BUDGETS]
        assert max(spent) < 1.3 * min(spent), "but for whole steps and their last phase"
    assert timed == (["pgs", "none"] if kind == "seconds" else []), "once, for all budgets"
    other = open_study(path, output=tmp_path, device="cpu", overrides=["arms.none.budget.amount=20_000"])
    with pytest.raises(ConfigError, match="an arm has a budget of its own"):
        dry_run(other, BUDGETS)


def test_what_cannot_be_fitted_is_refused_first(tiny: TinyWorld, tmp_path):
    study = open_study(tiny.study, output=tmp_path, jobs=1)
    nan, inf = float("nan"), float("inf")
    refused = [([1, 2], None, "flops"), (BUDGETS, 2, "flops"), (BUDGETS, 4, "euros"), (BUDGETS, nan, "flops")]
    refused += [([1, 2, inf], None, "flops"), ([1, nan, 2], None, "flops"), (BUDGETS, inf, "flops")]
    for budgets, hold_out, unit in refused:
        with pytest.raises(ConfigError):
            scale(study, budgets, hold_out=hold_out, unit=unit)


@pytest.mark.parametrize(
    ("budgets", "hold_out", "said"),
    [
        ([0.25, 1, 1.01], None, "1 and 1.01 are one budget: 6 and 6 steps of pgs"),
        ([1e-300, 1e-299, 1e-298], None, "are one budget: 1 and 1 steps"),
        ([1, 2, 4], 4.01, "4 and 4.01 are one budget: 24 and 24 steps"),
        ([1, 2, 1e308], None, "no training has more than 1e+13 pairs"),
        ([1, 2, 4], 1e308, "no training has more than 1e+13 pairs"),
    ],
)
def test_budgets_that_are_one_run_or_no_run_are_refused_before_any_training(
    tiny: TinyWorld, tmp_path, monkeypatch, budgets, hold_out, said
):
    monkeypatch.setattr(Study, "train", lambda _: pytest.fail("it was trained"))
    study = open_study(tiny.study, output=tmp_path, jobs=1)
    for ask in (dry_run, scale):
        with pytest.raises(ConfigError, match=re.escape(said)):
            ask(study, budgets, hold_out=hold_out)


def test_a_crossing_far_from_what_was_measured_is_none():
    errors = [0.001] * 4
    costs = [1.0, 2.0, 4.0, 8.0]
    ours, near, far = (
        PowerLaw.fit(costs, [1 - scale * cost**slope for cost in costs], errors)
        for scale, slope in ((0.6, -0.05), (0.62, -0.07), (0.62, -0.0501))
    )
    measured = [{name: Measured(cost, None) for name in ("pgs", "near", "far")} for cost in costs]
    rows = fits_table({"pgs": ours, "near": near, "far": far}, measured, "flops").cells()
    assert float(rows[1][2]) == pytest.approx((0.62 / 0.6) ** (1 / 0.02), rel=0.01)
    assert rows[2][2] == "nowhere near"


def test_an_interval_that_was_cut_has_its_own_bar_and_the_error_of_its_whole_side():
    law = PowerLaw.fit([1.0, 2.0, 4.0], [0.9, 0.95, 0.97], [0.01] * 3)
    cut = Measured(1.0, Interval(0.99, 0.95, 1.0, 0.5, 2, 60, 10.0))
    whole = Measured(1.0, Interval(0.96, 0.92, 1.0, 0.5, 2, 60, 10.0))
    assert cut.error == pytest.approx(whole.error)
    (bar,) = scale_figure([{"pgs": cut}], {"pgs": law}, {}, "flops").axes[0].containers
    (line,) = bar.lines[2]
    assert line.get_segments()[0][:, 1] == pytest.approx([0.0, 0.05])
