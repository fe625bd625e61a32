"""Seeds are added until a comparison is decided, or the means are spent."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import pytest
from fabricated import Arm, _spec, write_runs

from pgsbench.errors import ConfigError, StudyError
from pgsbench.records.study_record import Margin, StudyRecord
from pgsbench.reporting.answer import basis, headline
from pgsbench.reporting.columns import arms_table
from pgsbench.reporting.decision.forecast import power_table
from pgsbench.reporting.findings import Findings
from pgsbench.reporting.pages.study_report import write_report
from pgsbench.reporting.results import Results
from pgsbench.reporting.study_frames import read_frames
from pgsbench.session.comparing import compare_until_decided, with_all_seeds


class FakeStudy:
    """A study whose runs are made up in a moment."""

    arms, design = ("pgs", "flip", "none"), SimpleNamespace(config=SimpleNamespace(seeds=[3], margin=1.0))
    design.with_seeds = lambda seeds: SimpleNamespace(config=SimpleNamespace(seeds=list(seeds), margin=1.0))

    def __init__(self, folder, lead):
        self.folder, self.lead, self.asked = folder, lead, []
        self.runs_root, self.name = folder, "masks"

    def tune(self, arms):
        return ()

    def beside(self, design):
        other = FakeStudy(self.folder, self.lead)
        other.design = design
        return other

    def plan(self, arms):
        return [_spec("masks", arm, Arm(), seed) for arm in arms for seed in self.design.config.seeds]

    def compare(self, baselines, *, candidate, seeds, plan):
        self.asked.append(list(seeds))
        arms = {"pgs": Arm(self.lead), **{name: Arm() for name in baselines}}
        folder = write_runs(self.folder, arms, seeds=seeds, num_items=120, seed_sd=0.0)
        replace(StudyRecord.read(folder), decision=plan).write(folder)
        return Findings(Results(read_frames(folder)))

    def check_failed(self):
        pass


def test_a_clear_difference_ends_after_the_first_look(tmp_path):
    study, said = FakeStudy(tmp_path, 15.0), []
    compare_until_decided(study, ["flip", "none"], on_look=said.append)
    assert study.asked == [[3, 4, 5]]
    assert said[0].startswith("after 3 seeds: pgs − flip +")
    assert said[0].endswith("▲ better")


def test_an_open_one_goes_on_to_the_last_seed(tmp_path):
    study = FakeStudy(tmp_path, 0.0)
    results = compare_until_decided(study, ["flip", "none"], max_seeds=5).statistics
    assert [len(seeds) for seeds in study.asked] == [3, 4, 5]
    assert "not decided" in headline(results)
    plan = results.study.record.decision
    assert (plan.margin, plan.max_seeds, plan.first_seed) == (Margin(0.01), 5, 3)


def test_seeds_that_another_study_has_shown_are_not_looked_at_again(tmp_path):
    write_runs(tmp_path, {"pgs": Arm(), "flip": Arm()}, name="before", seeds=(3, 4, 5), num_items=50)
    write_runs(tmp_path, {"none": Arm()}, name="alone", seeds=(6,), num_items=50)
    study = FakeStudy(tmp_path, 25.0)
    results = compare_until_decided(study, ["flip", "none"]).statistics
    assert results.study.record.decision.seen == 3
    assert [len(seeds) for seeds in study.asked] == [4]
    assert "corrected for 2 comparisons and 3 seeds seen before" in basis(results)
    compare_until_decided(study, ["flip", "none"])  # repeated, the command has the plan that it had
    assert [len(seeds) for seeds in study.asked] == [4, 4]
    with pytest.raises(ConfigError, match="after 5 seeds, as 4 were seen before"):
        compare_until_decided(study, ["flip", "none"], max_seeds=4)


def test_hours_end_it_before_a_seed_that_would_end_later(tmp_path):
    study = FakeStudy(tmp_path, 0.0)
    compare_until_decided(study, ["flip", "none"], hours=1e-9)
    assert len(study.asked) == 1


def test_what_makes_no_sense_is_refused_before_anything_is_trained(tmp_path):
    study = FakeStudy(tmp_path, 0.0)
    with pytest.raises(ConfigError, match="first looked at after 4 seeds"):
        compare_until_decided(study, ["flip"], max_seeds=3)
    for ask in (compare_until_decided, with_all_seeds):
        for margin in (0.0, 100.0, float("nan"), "inf", "-1", "0%", "100%", "a%", "%", ""):
            with pytest.raises(ConfigError, match="above 0 and below 100"):
                ask(study, ["flip"], margin=margin)
        with pytest.raises(ConfigError, match="at most 1,000 seeds"):
            ask(study, ["flip"], max_seeds=10**20)
    assert not study.asked


def test_a_pilot_says_what_differences_take(fabricate):
    folder = fabricate({"pgs": Arm(2.0), "flip": Arm()}, seeds=range(6), seed_sd=0.0)
    table = power_table(Results(read_frames(folder)))
    assert [row[1] for row in table.cells()] == ["0.5", "1", "2"]
    assert {row[2] for row in table.cells()[:2]} == {
        "none"
    }  # 120 items a task are too few, whatever the seeds
    one = power_table(Results(read_frames(fabricate({"pgs": Arm(), "flip": Arm()}, seeds=(0,), name="one"))))
    assert {row[2] for row in one.cells()} == {"missing"}
    assert one.notes[0].startswith("One seed tells nothing")


def test_a_search_of_one_mask_compares_nothing_and_misses_nothing(fabricate):
    ratio, values = "strategy.mask_ratio", [0.25, 0.5]
    points = [("pgs", Arm(mask_ratio=value, params={ratio: value})) for value in values]
    folder = fabricate(points, search={"space": {ratio: values}})
    results = Results(read_frames(folder))
    assert headline(results).startswith("pgs at mask_ratio ")
    table = arms_table(results)
    assert list(table.names[:3]) == ["arm", "score", "time"]
    assert len(table.cells()[0]) == len(table.names)
    with pytest.raises(StudyError, match="compares no two arms"):
        power_table(results)
    page = (write_report(results, folder / "report") / "report.md").read_text()
    assert "missing" not in page
