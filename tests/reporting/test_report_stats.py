"""Intervals: against textbook formulas where there are any, against brute force where there are none."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from pgsbench.errors import StudyError
from pgsbench.reporting.statistics.intervals import difference, holm, mean_interval
from pgsbench.reporting.statistics.paired_values import PairedValues
from pgsbench.reporting.statistics.task_values import TaskValues


def items(n, prefix="i"):
    return np.array([f"{prefix}{k}" for k in range(n)])


def one_task(arms, names=None):
    """arm -> (seeds, items) values as the paired wants them."""
    return {
        arm: {
            seed: {"t": TaskValues(row, items(len(row)) if names is None else names)}
            for seed, row in enumerate(values)
        }
        for arm, values in arms.items()
    }


def pair_up(arms, *names):
    return PairedValues.build(one_task(arms), {"t": 1.0}, list(names or arms))


def test_one_seed_is_the_paired_t_test_over_items():
    rng = np.random.default_rng(0)
    a, b = rng.random(2000), rng.random(2000) * 0.9
    found = difference(pair_up({"a": [a], "b": [b]}), "a", "b")
    expected = stats.ttest_rel(a, b)
    low, high = expected.confidence_interval()
    assert found.estimate == pytest.approx((a - b).mean())
    assert (found.low, found.high) == pytest.approx((low, high), rel=2e-3)  # the floor adds 2 / n^2
    assert found.num_seeds == 1
    assert found.num_items == 2000


def test_items_are_paired_by_name_not_by_position():
    rng = np.random.default_rng(3)
    values = (rng.random(300) < 0.5).astype(float)
    shuffle = rng.permutation(300)
    data = one_task({"a": [values]}) | one_task({"b": [values[shuffle]]}, names=items(300)[shuffle])
    found = difference(PairedValues.build(data, {"t": 1.0}, ["a", "b"]), "a", "b")
    assert found.estimate == pytest.approx(0)
    assert found.high < 0.02  # unpaired it would be about 0.08


def test_other_items_are_refused():
    data = one_task({"a": [np.ones(5)]}) | one_task({"b": [np.ones(5)]}, names=items(5, "other"))
    with pytest.raises(StudyError, match="different items"):
        PairedValues.build(data, {"t": 1.0}, ["a", "b"])


def test_no_common_seed_and_missing_tasks_are_refused():
    data = one_task({"a": [np.ones(5)], "b": [np.ones(5)]})
    data["b"] = {7: data["b"][0]}
    with pytest.raises(StudyError, match="share no seed"):
        PairedValues.build(data, {"t": 1.0}, ["a", "b"])
    with pytest.raises(StudyError, match="no complete run has all tasks"):
        PairedValues.build(data, {"t": 0.5, "other": 0.5}, ["a"])
    with pytest.raises(StudyError, match="finite"):
        pair_up({"a": [np.array([1.0, np.nan, 0.0])]})


def test_tasks_on_the_same_items_are_taken_together():
    # Twice the same answers to the same pictures is no more evidence than once; on other pictures it is.
    rng = np.random.default_rng(4)
    values = (rng.random(400) < 0.6).astype(float)

    def width(second_items):
        run = {"t1": TaskValues(values, items(400)), "t2": TaskValues(values, second_items)}
        found = mean_interval(PairedValues.build({"a": {0: run}}, {"t1": 0.5, "t2": 0.5}, ["a"]), "a")
        return found.high - found.low

    once = mean_interval(pair_up({"a": [values]}), "a")
    assert width(items(400)) == pytest.approx(once.high - once.low, rel=0.01)
    assert width(items(400, "j")) == pytest.approx((once.high - once.low) / np.sqrt(2), rel=0.01)


def test_items_of_one_unit_count_as_one_draw():
    values = np.repeat((np.arange(100) % 2).astype(float), 5)  # five captions of a picture, all alike
    run = {"t": TaskValues(values, items(500), units=np.repeat(items(100), 5))}
    clustered = PairedValues.build({"a": {0: run}}, {"t": 1.0}, ["a"])
    assert clustered.num_items == 100
    single = mean_interval(pair_up({"a": [values[::5]]}), "a")
    found = mean_interval(clustered, "a")
    assert found.high - found.low == pytest.approx(single.high - single.low, rel=1e-6)


def by_class(right, strata):
    """One seed of a mean over classes: right (n,), with the values that are weighted to average to it."""
    _, codes, counts = np.unique(strata, return_inverse=True, return_counts=True)
    weights = len(right) / (len(counts) * counts)
    return {0: {"t": TaskValues(right * weights[codes], items(len(right)), strata=strata)}}


def test_a_mean_over_classes_varies_within_classes_only():
    # Textbook: the variance of a mean of class means is the mean of the classes' own, over their number.
    rng = np.random.default_rng(8)
    strata = rng.permutation(np.repeat(np.arange(4), [10, 10, 10, 970]))
    right = (rng.random(1000) < np.array([0.2, 0.9, 0.6, 0.9])[strata]).astype(float)
    arms = {"a": by_class(right, strata)}
    found = mean_interval(PairedValues.build(arms, {"t": 1.0}, ["a"]), "a")
    classes = [right[strata == k] for k in range(4)]
    variance = sum(each.var(ddof=1) / len(each) for each in classes) / 16
    floor = sum(0.5 / (len(each) + 0.5) ** 2 for each in classes) / 16  # two pseudo-items, four classes
    assert found.estimate == pytest.approx(np.mean([each.mean() for each in classes]))
    reach = stats.t.ppf(0.975, 999) * np.sqrt(variance + floor)
    assert found.high - found.estimate == pytest.approx(reach, rel=1e-6)


def test_a_difference_of_means_over_classes_is_paired_within_classes():
    rng = np.random.default_rng(9)
    strata = np.repeat(np.arange(3), [20, 80, 400])
    hard = rng.random(500)
    ours, theirs = (hard < 0.55).astype(float), (hard < 0.5).astype(float)
    order = rng.permutation(500)
    other = by_class(theirs, strata)[0]["t"]
    shuffled = TaskValues(other.values[order], other.items[order], strata=strata[order])
    arms = {"a": by_class(ours, strata), "b": {0: {"t": shuffled}}}
    found = difference(PairedValues.build(arms, {"t": 1.0}, ["a", "b"]), "a", "b")
    classes = [(ours - theirs)[strata == k] for k in range(3)]
    variance = sum(each.var(ddof=1) / len(each) for each in classes) / 9
    floor = sum(2 / 3 / (len(each) + 2 / 3) ** 2 for each in classes) / 9
    assert found.estimate == pytest.approx(np.mean([each.mean() for each in classes]))
    reach = stats.t.ppf(0.975, 499) * np.sqrt(variance + floor)
    assert found.high - found.estimate == pytest.approx(reach, rel=1e-6)


def test_all_right_is_not_certain():
    found = mean_interval(pair_up({"a": [np.ones(30)] * 2}), "a")
    assert found.high == 1.0
    assert 0.85 < found.low < 0.95  # Agresti & Coull's interval for 30 of 30 is 0.86 to 1
    same = difference(pair_up({"a": [np.ones(30)], "b": [np.ones(30)]}), "a", "b")
    assert same.p_value == pytest.approx(1.0)
    assert same.low < -0.05 < 0.05 < same.high


def test_arms_that_do_not_fit_are_no_help_and_no_harm():
    rng = np.random.default_rng(6)
    arms = {arm: list(rng.random((2, 50))) for arm in "ab"}
    odd = one_task({"odd": [rng.random(50)] * 2}, names=items(50, "other"))
    few = one_task({"few": [rng.random(50)]})
    joined = PairedValues.build(one_task(arms) | odd | few, {"t": 1.0}, ["a", "b"])
    assert joined.arms == {"a", "b"}


def test_holm_by_hand():
    # Holm (1979): 0.01 x 4, 0.03 x 2 after 0.02 x 3, and so on, never falling.
    assert holm([0.03, 0.01, float("nan"), 0.02, 0.5]) == pytest.approx(
        [0.06, 0.04, np.nan, 0.06, 0.5], nan_ok=True
    )
    assert holm([]) == []
    assert holm([0.6, 0.9]) == pytest.approx([1.0, 1.0])
