"""Arms "differ in nothing but the mask" only where numerics, data and order were looked at, too."""

from __future__ import annotations

from dataclasses import replace

import pytest
from fabricated import CPU, Arm, on_gpu

from pgsbench.config.schema import BudgetConfig
from pgsbench.reporting import figures
from pgsbench.reporting.answer import headline
from pgsbench.reporting.badges import badges
from pgsbench.reporting.fairness import fairness_sentence, fairness_table, other_differences
from pgsbench.reporting.results import Results
from pgsbench.reporting.study_frames import read_frames

NOTHING = "The arms differ in nothing but the mask."


def results_of(fabricate, flip, **options):
    return Results(read_frames(fabricate({"pgs": Arm(), "flip": flip}, seeds=(0,), **options)))


def test_a_fair_comparison_is_called_fair(fabricate):
    fair = results_of(fabricate, Arm(strategy={"tau": 0.5}))
    assert fairness_sentence(fair) == NOTHING
    assert fairness_table(fair) is None


@pytest.mark.parametrize(
    ("flip", "setting", "values"),
    [
        (on_gpu(Arm()), "numerics.device", ("cpu", "cuda")),
        (on_gpu(Arm()), "numerics.precision", ("fp32", "bf16")),
        (Arm(numerics=replace(CPU, torch="2.12.1")), "numerics.torch", ("2.13.0", "2.12.1")),
        (Arm(numerics=replace(CPU, threads=8)), "numerics.threads", ("2", "8")),
        (Arm(data="ffffffffffffffff"), "data", ("a1b2c3d4e5f60718", "ffffffffffffffff")),
        (Arm(reading={"scaled_decoding": True}), "reading.scaled_decoding", ("not set", "True")),
        (Arm(training={"batch_size": 128}), "training.batch_size", ("64", "128")),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_else_differs_is_named_with_its_values(fabricate, flip, setting, values):
    # Both data sets are called "scenes" in the configuration: only their content tells them apart.
    found = results_of(fabricate, flip)
    assert other_differences(found)[setting] == dict(zip(("pgs", "flip"), values, strict=True))
    assert fairness_sentence(found) == ""
    assert any(setting in badge.sentence for badge in badges(found) if badge.short == "arms differ in more")
    rows = [list(row) for row in fairness_table(found).cells() if row[0] == setting]
    assert rows == [[setting, values[0], "pgs"], [setting, values[1], "flip"]]


def test_arms_with_one_budget_may_see_other_numbers_of_pairs(fabricate):
    def arm(samples, amount, equal="flops"):
        return Arm(training={"samples": samples}, budget=BudgetConfig(equal=equal, amount=amount))

    def compare(name, *arms):
        return Results(
            read_frames(fabricate(dict(zip(("pgs", "flip"), arms, strict=True)), seeds=(0,), name=name))
        )

    equal = compare("equal", arm(320, 7e12), arm(640, 7e12))
    assert fairness_sentence(equal) == (
        "The arms differ in nothing but the mask, at an equal budget of 7 TFLOP of both towers."
    )
    assert other_differences(equal) == {}
    timed = compare("timed", arm(320, 600, "seconds"), arm(640, 600, "seconds"))
    assert fairness_sentence(timed).endswith(
        "but the mask, at an equal budget of 600 seconds of training steps, as timed before the training."
    )
    unequal = compare("unequal", arm(320, 7e12), arm(640, 8e12))
    assert "training.samples" in other_differences(unequal)
    assert "training.samples" in other_differences(compare("one", arm(320, 7e12), Arm()))


def test_captions_are_named_where_they_are_read_otherwise(fabricate):
    both = results_of(fabricate, Arm(text="frequency"))
    assert (
        fairness_sentence(both)
        == "The arms differ in nothing but the mask and the tokens of the captions that are read."
    )
    assert fairness_table(both) is None
    more = results_of(fabricate, Arm(text="frequency", reading={"scaled_decoding": True}), name="more")
    said = "more than the mask and the tokens of the captions that are read: reading.scaled_decoding."
    assert any(said in badge.sentence for badge in badges(more))


def test_one_seed_on_another_machine_is_enough(fabricate):
    gpu, cpu = on_gpu(Arm()), Arm()
    folder = fabricate([("pgs", cpu), ("flip", cpu)], seeds=(0,))
    more = fabricate([("pgs", cpu), ("flip", gpu)], seeds=(1,), name="more")
    study, other = read_frames(folder), read_frames(more)
    found = other_differences(Results(replace(study, runs=study.runs + other.runs)))
    assert found["numerics.device"] == {"pgs": "cpu", "flip": "cpu, cuda"}


def test_arms_that_are_not_compared_do_not_count(fabricate):
    arms = {"pgs": Arm(), "flip": Arm(), "random": on_gpu(Arm())}
    study = read_frames(fabricate(arms, seeds=(0,)))
    assert fairness_sentence(Results(study, baselines=["flip"])) == NOTHING
    assert fairness_sentence(Results(study)) != NOTHING


def test_worlds_that_differ_make_no_comparison_unfair_and_each_is_compared(fabricate):
    """In a search over data arms meet at equal points; points of another space count nowhere."""
    space = {"data.recipe.clutter": [0.0, 0.7]}
    points = [{}, *({"data.recipe.clutter": clutter} for clutter in (0.0, 0.7))]
    arms = [
        (
            arm,
            Arm(
                20.0 if arm == "pgs" and point.get("data.recipe.clutter") else 0.0, params=point, data=f"{k}"
            ),
        )
        for k, point in enumerate(points)
        for arm in ("pgs", "flip")
    ]
    search = {"space": space, "arms": ["pgs", "flip"]}
    results = Results(read_frames(fabricate(arms, search=search, num_items=300)))
    assert other_differences(results) == {}
    assert [results.params_of(ours) for ours, _ in results.pairs] == points[1:]
    assert all(results.params_of(ours) == results.params_of(theirs) for ours, theirs in results.pairs)
    assert headline(results).startswith("pgs is better than flip at clutter=0.7 by ")
    assert len(figures.forest(results).axes[0].get_yticks()) == 2
    arms[-1] = ("flip", replace(arms[-1][1], data="another"))
    unfair = Results(read_frames(fabricate(arms, search=search, name="unfair")))
    assert list(other_differences(unfair)) == ["data"]
