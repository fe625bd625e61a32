"""Verdicts that hold under repeated looks: shares, words, and what would decide the rest."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from fabricated import Arm
from scipy import stats

from pgsbench.errors import ConfigError
from pgsbench.records.study_record import DecisionPlan, Margin, StudyRecord
from pgsbench.reporting.answer import basis, headline
from pgsbench.reporting.columns import arms_table
from pgsbench.reporting.decision.comparisons import decisions
from pgsbench.reporting.decision.decide import decide, looks_of, outcomes, shares
from pgsbench.reporting.decision.forecast import Forecast
from pgsbench.reporting.results import Results
from pgsbench.reporting.statistics.intervals import difference
from pgsbench.reporting.statistics.paired_values import PairedValues
from pgsbench.reporting.statistics.task_values import TaskValues
from pgsbench.reporting.study_frames import read_frames


def planned(folder, *baselines, margin=1, max_seeds=8):
    plan = DecisionPlan("pgs", baselines, Margin.of(margin), max_seeds)
    replace(StudyRecord.read(folder), decision=plan).write(folder)
    return Results(read_frames(folder))


def measured(rng, *, seeds, items, seed_sd=0.0, lead=0.0):
    """Two arms of real values; the lead is of the first."""
    hard = rng.normal(0, 1, items)
    arms = {}
    for arm, mean in (("a", lead), ("b", 0.0)):
        luck = rng.normal(0, seed_sd, (seeds, 1))
        values = mean + luck + hard + rng.normal(0, 0.3, items) + rng.normal(0, 0.3, (seeds, items))
        names = np.arange(items).astype(str)
        arms[arm] = {seed: {"t": TaskValues(row, names)} for seed, row in enumerate(values)}
    return PairedValues.build(arms, {"t": 1.0}, ["a", "b"])


@pytest.mark.parametrize(("arms", "first"), [(2, 4), (3, 3), (5, 2), (9, 2)])
def test_no_look_before_it_is_known_how_much_seeds_matter(arms, first):
    assert next(iter(shares(arms, 10))) == first


def test_the_looks_spend_no_more_than_there_is():
    for arms in (2, 5):
        for most in (4, 8, 20):
            assert sum(shares(arms, most).values()) == pytest.approx(1)
            assert min(shares(arms, most).values()) > 0
    with pytest.raises(ConfigError, match="first looked at after 4 seeds"):
        shares(2, 3)


def test_what_is_borrowed_counts_for_the_first_look():
    for borrowed, first in ((2, 2), (20, 2), (1, 3)):
        assert next(iter(shares(2, 8, borrowed_df=borrowed))) == first


def test_seeds_that_were_seen_before_the_plan_have_spent_their_share():
    unseen, seen = shares(2, 8), shares(2, 8, seen=5)
    assert list(seen) == [6, 7, 8]
    assert seen == pytest.approx({seeds: unseen[seeds] for seeds in seen})
    assert sum(seen.values()) == pytest.approx(1 - (5 / 8) ** 2)
    assert sum(shares(2, 8, seen=1).values()) == pytest.approx(1 - (1 / 8) ** 2)
    with pytest.raises(ConfigError, match="as 8 were seen before"):
        shares(2, 8, seen=8)


def test_verdicts_of_a_family_are_corrected():
    assert outcomes([1.0, -1.0], [0.03, 0.03], [0.9, 0.9]) == ["undecided", "undecided"]
    assert outcomes([1.0, -1.0], [0.02, 0.03], [0.9, 0.9]) == ["better", "worse"]
    assert outcomes([0.0, np.nan], [0.8, np.nan], [0.04, np.nan]) == ["equivalent", "missing"]


@pytest.mark.parametrize(("lead", "outcome"), [(12.0, "better"), (-12.0, "worse"), (0.0, "undecided")])
def test_a_study_is_decided_as_planned(fabricate, lead, outcome):
    arms = {"pgs": Arm(lead), "flip": Arm(), "none": Arm()}
    found = decisions(planned(fabricate(arms, seeds=range(4), seed_sd=0.0), "flip", "none"))
    assert [one.outcome for one in found] == [outcome] * 2
    assert all(one.of == "mean of groups" for one in found)
    assert all((one.seeds_needed is None) or one.seeds_needed >= 2 for one in found)


def test_a_relative_margin_is_of_each_baseline_s_mean_and_shown_in_points(fabricate):
    folder = fabricate({"pgs": Arm(), "flip": Arm(), "none": Arm(-20.0)}, seeds=range(6), seed_sd=0.0)
    results = planned(folder, "flip", "none", margin="30%")
    flip, none = decisions(results)
    means = [results.mean(one.baseline, one.of).estimate for one in (flip, none)]
    assert [flip.margin, none.margin] == pytest.approx([0.3 * mean for mean in means])
    assert none.margin < flip.margin
    assert (flip.outcome, none.outcome) == ("equivalent", "better")
    said = (
        f"less than 30 % of the baseline's mean ({100 * none.margin:.1f} to {100 * flip.margin:.1f} points)"
    )
    assert said in basis(results)
    smaller = planned(folder, "flip", "none", margin="0.5%")
    assert decisions(smaller)[0].outcome == "undecided"


def test_looks_cost_something_and_too_few_seeds_say_nothing(fabricate):
    folder = fabricate({"pgs": Arm(2.2), "flip": Arm()}, seeds=range(4), seed_sd=0.0)
    once, often = decisions(Results(read_frames(folder)))[0], decisions(planned(folder, "flip"))[0]
    assert often.interval.estimate == pytest.approx(once.interval.estimate)
    assert often.interval.high - often.interval.low > 1.1 * (once.interval.high - once.interval.low)
    assert often.interval.p_value > once.interval.p_value
    short = fabricate({"pgs": Arm(2.2), "flip": Arm()}, seeds=range(3), name="short")
    assert decisions(planned(short, "flip"))[0].outcome == "missing"


def test_what_was_planned_stays_decided_among_all_arms(fabricate):
    folder = fabricate({"pgs": Arm(12.0), "flip": Arm(), "none": Arm()}, seeds=range(4))
    planned(folder, "flip")
    study = read_frames(folder)
    (alone,) = decisions(Results(study, candidate="pgs", baselines=["flip"]))
    whole = Results(study)
    assert whole.baselines == ["flip", "none"]
    assert whole.not_compared == []
    assert decisions(whole)[0] == alone
    by_itself = decisions(Results(study, candidate="pgs", baselines=["none"]))
    assert decisions(whole)[1:] == by_itself
    assert by_itself[0].interval == Results(study).difference("pgs", "none", by_itself[0].of)


def test_what_more_seeds_would_show_is_what_they_show():
    rng = np.random.default_rng(0)
    few = measured(rng, seeds=40, items=600, seed_sd=0.02)
    forecast = Forecast(few, {"a": 1.0, "b": -1.0})
    assert forecast.error(40) == pytest.approx(np.sqrt(_error(few) ** 2), rel=0.02)
    more = [_error(measured(rng, seeds=160, items=600, seed_sd=0.02)) for _ in range(8)]
    assert forecast.error(160) == pytest.approx(np.mean(more), rel=0.15)


def test_the_seeds_that_are_said_to_be_enough_are():
    rng = np.random.default_rng(1)
    pilot = Forecast(measured(rng, seeds=30, items=3000, seed_sd=0.02), {"a": 1.0, "b": -1.0})
    seeds = pilot.seeds_for(0.03)
    assert seeds is not None
    found = [
        difference(measured(rng, seeds=seeds, items=3000, seed_sd=0.02, lead=0.03), "a", "b").p_value < 0.05
        for _ in range(100)
    ]
    assert 0.65 < np.mean(found) < 0.95
    assert pilot.detectable(seeds) <= 0.03 < pilot.detectable(seeds - 1)
    assert pilot.seeds_for(1e-4) is None


def test_a_forecast_knows_that_looks_share_the_error_rate():
    rng = np.random.default_rng(4)
    paired, plan = (
        measured(rng, seeds=8, items=6000, seed_sd=0.06, lead=0.07),
        DecisionPlan("a", ("b",), Margin(0.01), 8),
    )
    (once,), (often,) = (decide([("a", "b", paired)], one, Margin(0.01)) for one in (None, plan))
    assert once.outcome == often.outcome == "undecided"
    forecast, lead = Forecast(paired, {"a": 1.0, "b": -1.0}), often.interval.estimate
    needed = often.seeds_needed
    assert 8 < once.seeds_needed < needed
    assert forecast.detectable(needed, alpha=0.05 * looks_of(plan, needed)[needed]) <= abs(lead)
    before = needed - 1
    assert forecast.detectable(before, alpha=0.05 * looks_of(plan, before)[before]) > abs(lead)


def test_a_forecast_shares_the_error_rate_among_the_pairs_that_are_open():
    rng = np.random.default_rng(4)
    paired = measured(rng, seeds=8, items=6000, seed_sd=0.06, lead=0.07)
    clear = measured(rng, seeds=8, items=6000, seed_sd=0.06, lead=0.9)
    pair = ("a", "b", paired)
    (alone,), (among_open, *_) = (decide([pair] * many, None, Margin(0.01)) for many in (1, 3))
    beside_clear = decide([pair, *[("a", "b", clear)] * 2], None, Margin(0.01))[0]
    assert alone.seeds_needed < among_open.seeds_needed
    assert beside_clear.seeds_needed == alone.seeds_needed  # Holm: what is decided no longer counts


def test_words_say_who_won_and_how_sure(fabricate):
    arms = {"pgs": Arm(12.0), "flip": Arm(), "none": Arm(24.0), "grid": Arm(12.0)}
    results = planned(fabricate(arms, seeds=range(3), seed_sd=0.0), "flip", "none", "grid")
    said = headline(results)
    assert said.startswith("pgs is better than flip (+")
    assert "worse than none (−" in said
    assert "not decided yet against grid" in said
    sure = basis(results)
    assert "3 seeds" in sure
    assert "corrected for 3 comparisons and two looks" in sure
    table = arms_table(results)
    assert next(row[0] for row in table.cells()) == "none"
    assert {row[0]: row[3] for row in table.cells()} == {
        "none": "▼ worse",
        "pgs": "",
        "grid": "? not decided",
        "flip": "▲ better",
    }


def _error(paired):
    found = difference(paired, "a", "b")
    return (found.high - found.low) / 2 / stats.t.ppf(0.975, found.df)
