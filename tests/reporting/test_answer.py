"""A report answers its kind of question: the headline, its badges, its picture and its tables."""

from __future__ import annotations

import shutil
from dataclasses import replace

import pytest
from fabricated import ARMS, Arm, replace_scores, write_runs

from pgsbench.config.schema import BudgetConfig
from pgsbench.errors import StudyError
from pgsbench.records.study_record import Importances
from pgsbench.records.verdict_record import ALL_GROUPS, VerdictRecord
from pgsbench.reporting import figures, words
from pgsbench.reporting.answer import basis, first_table, headline, kind_of, verdict_record
from pgsbench.reporting.badges import badges
from pgsbench.reporting.columns import arms_table
from pgsbench.reporting.decision.comparisons import comparisons_frame, group_comparisons
from pgsbench.reporting.findings import Findings
from pgsbench.reporting.pages.details import differences_table, tasks_table
from pgsbench.reporting.render import as_json
from pgsbench.reporting.results import Results
from pgsbench.reporting.statistics.comparison import ONE_RUN, Missing
from pgsbench.reporting.statistics.intervals import Interval
from pgsbench.reporting.study_frames import read_frames
from pgsbench.reporting.sweep import importance_table, sweep_table
from pgsbench.tracking.mlflow_verdict import arm_tags

TERA = 10**12
RATIO = "strategy.mask_ratio"


def ratios(*values, arms=("pgs", "random"), effects=None):
    """Return the points of some arms over the mask ratio, and the arm with whole pictures beside them."""
    effects = effects or dict.fromkeys(values, 0.0)
    points = [
        (arm, Arm(effects[value] - 5 * number, mask_ratio=value, params={RATIO: value}))
        for number, arm in enumerate(arms)
        for value in values
    ]
    return [*points, ("none", Arm(4.0, mask_ratio=0.0))]


def row(table, name):
    return dict(zip(table.names, next(cells for cells in table.cells() if cells[0] == name), strict=True))


def shorts(results):
    return [badge.short for badge in badges(results)]


@pytest.fixture
def made(fabricate):
    def of(arms, **options):
        candidate = options.pop("candidate", None)
        return Results(read_frames(fabricate(arms, **{"seeds": (0, 1), **options})), candidate=candidate)

    return of


@pytest.fixture(scope="module")
def many(tmp_path_factory):
    arms = {"pgs": Arm(), "none": Arm(40.0, mask_ratio=0.0), "flip": Arm(-20.0), "grid": Arm(20.0)}
    arms |= {f"other{k}": Arm(-20.0) for k in range(6)}
    folder = tmp_path_factory.mktemp("runs")
    return Results(read_frames(write_runs(folder, arms, seeds=(0, 1), seed_sd=0.0, num_items=200)))


def test_of_many_arms_the_best_is_told_and_how_the_candidate_stands_to_it(many):
    said = headline(many)
    assert said.startswith("none, which masks nothing, is the best of 10 (")
    assert "; pgs is worse by " in said
    assert kind_of(many) == "compare"
    assert first_table(many) is None


def test_kinds_of_questions_have_their_pictures_and_tables(made):
    search = {"space": {RATIO: [0.25, 0.5, 0.75]}, "arms": ["pgs", "random"]}
    sweep = made(ratios(0.25, 0.5, 0.75), search=search, name="sweep")
    assert kind_of(sweep) == "sweep"
    assert first_table(sweep).title == "Best points of the search"
    text = {"space": {"text.strategy": ["none", "random"]}, "arms": ["pgs", "flip"]}
    points = [(arm, Arm(params={"text.strategy": way})) for arm in text["arms"] for way in ("none", "random")]
    factors = made(points, search=text, name="factors")
    assert kind_of(factors) == "factors"
    assert first_table(factors).title == "Main effects"
    budget = BudgetConfig(equal="samples", amount=1e6)
    equal = {"pgs": Arm(budget=budget, flops=TERA), "flip": Arm(budget=budget, flops=2 * TERA)}
    cost = made(equal, name="cost")
    assert kind_of(cost) == "cost"
    assert first_table(cost).names[2] == "TFLOP"
    both = {**search, "metric": ["mean", "-train_seconds"]}
    assert kind_of(made(ratios(0.25, 0.5, 0.75), search=both, name="both")) == "cost"
    for results, first in ((sweep, "sweep"), (factors, "settings"), (cost, "cost")):
        assert figures.names_for(results)[0] == first
        assert len(headline(results).split()) <= words.MAX_WORDS


def test_a_sweep_says_where_the_best_lies_and_whether_that_is_sure(made):
    search = {"space": {RATIO: [0.25, 0.5, 0.75]}, "arms": ["pgs", "random"]}
    arms = ratios(0.25, 0.5, 0.75, effects={0.25: 0.0, 0.5: 12.0, 0.75: 0.0})
    sure = made(arms, search=search, seed_sd=0.0)
    assert headline(sure).startswith("pgs at mask_ratio 0.5 is the best of 6 points (")
    assert "; whole pictures score " in headline(sure)
    assert "best on the border" not in shorts(sure)
    assert "best of 6 points" in shorts(sure)
    flat = made(ratios(0.25, 0.5, 0.75, arms=("pgs",)), search=search, name="flat")
    assert "may be as good" in headline(flat)
    rising = made(
        ratios(0.25, 0.5, 0.75, effects={0.25: 0.0, 0.5: 5.0, 0.75: 15.0}),
        search=search,
        name="rising",
        seed_sd=0.0,
    )
    (border,) = (badge.sentence for badge in badges(rising) if badge.short == "best on the border")
    assert border.startswith(
        "The best mask_ratio of pgs and random is at the border of what was searched (0.25 to 0.75)"
    )
    table = sweep_table(rising)
    assert [cells[-1] for cells in table.cells()].count("★") == 2  # the best of each arm
    values = [float(cells[2]) for cells in table.cells()]
    assert values == sorted(values, reverse=True)
    assert len(values) == 5


def test_a_sampled_search_says_what_mattered_and_how_that_was_found(made):
    found = Importances(4, 3, {"arm": 0.61, RATIO: 0.3})
    space = {"space": {RATIO: [0.25, 0.5], "strategy.tau": [0.1, 0.2]}, "sampler": "tpe", "trials": 4}
    points = [
        ("pgs", Arm(mask_ratio=r, params={RATIO: r, "strategy.tau": t}))
        for r in (0.25, 0.5)
        for t in (0.1, 0.2)
    ]
    results = made(points, search=space, importances=found)
    table = importance_table(results)
    assert list(table.cells()) == [["arm", "61.0"], ["mask_ratio", "30.0"]]
    assert "forest" in table.notes[0]
    assert "other points may be as good" in headline(results)  # a forest does not tell effects from chance


def test_with_one_seed_every_output_says_so(made):
    strong = {**ARMS, "pgs": Arm(14.0)}
    one = made(strong, seeds=(3,), num_items=300)
    three = made(strong, seeds=(0, 1, 2), name="three", num_items=300)
    for results, is_one in ((one, True), (three, False)):
        assert ("one seed" in shorts(results)) == is_one
        assert ("one seed" in Findings(results).verdict) == is_one
        assert row(arms_table(results), "random")["pgs is"] == f"▲ better{' (one seed)' * is_one}"
        assert ("(one seed)" in as_json(arms_table(results))) == is_one
        first = comparisons_frame(results)["verdict"].str.partition(":")[0]
        assert (set(first) == {ONE_RUN}) == is_one
        assert all(said.startswith(ONE_RUN) == is_one for said in verdict_record(results).outcomes.values())
        assert set(comparisons_frame(results)["family"]) == {"headline", "groups", "tasks"}
    mixed = replace(three.study, runs=tuple(r for r in three.study.runs if r.arm != "flip" or r.seed == 0))
    assert "an arm with one seed" in shorts(Results(mixed))


def test_a_margin_that_is_large_beside_a_score_is_said_to_be(many):
    assert "large margin" not in shorts(many)
    label, score = min(
        ((one, many.mean(one, many.headline).estimate) for one in many.baselines), key=lambda one: one[1]
    )

    def with_margin(margin):
        config = many.study.record.config.model_copy(update={"margin": margin})
        return Results(replace(many.study, record=replace(many.study.record, config=config)))

    assert "large margin" not in shorts(with_margin("21%"))
    (said,) = (one.sentence for one in badges(with_margin(21 * score)) if one.short == "large margin")
    assert f"The margin is 21 % of the score of {label} (" in said
    way_out = float(said.partition("--margin ")[2].partition("`")[0])
    assert 0.05 * score < way_out / 100 <= 0.1 * score


def test_seeds_that_chose_a_default_are_named(made):
    def said(share, seeds):
        arms = {"pgs-mixed": Arm(strategy={"random_share": share}), "flip": Arm()}
        return shorts(made(arms, seeds=seeds, name=f"chosen{share}{seeds[0]}"))

    assert "seed 0 tuned pgs-mixed" in said(0.5, (0, 1))
    assert "seed 0 tuned pgs-mixed" not in said(0.25, (0, 1))
    assert "seed 0 tuned pgs-mixed" not in said(0.5, (1, 2))


def test_what_is_missing_is_a_badge_and_a_missing_cell(fabricate):
    folder = fabricate(seeds=(0, 1))
    for run in folder.glob("flip-*"):
        shutil.rmtree(run)
    half = next(folder.glob("random-s1-*"))
    replace_scores(half, lambda score: None if score.task == "scenes/colour" else score)
    results = Results(read_frames(folder), baselines=["flip", "random"])
    assert "8 of 10 runs" in shorts(results)
    found = row(arms_table(results), "flip")
    assert (found["score"], found["pgs leads by"], found["pgs is"]) == ("missing",) * 3
    assert (found["seeds"], row(arms_table(results), "random")["seeds"]) == ("0 of 2", "1 of 2")
    assert row(tasks_table(results), "scenes/colour")["flip"] == "missing"
    assert row(differences_table(results), "retrieval")["pgs − flip"] == "missing"
    # The seed that lacks a task does not enter the group's mean, and does enter the other groups'.
    one_seed, both = results.mean("random", "classification"), results.mean("random", "retrieval")
    assert isinstance(one_seed, Interval)
    assert isinstance(both, Interval)
    assert (one_seed.num_seeds, both.num_seeds) == (1, 2)


def test_many_budgets_are_a_range(made):
    arms = {name: Arm(training={"samples": 320 * k}) for k, name in enumerate("abcdefg", start=1)}
    assert "trained on 320 to 2,240 pairs of" in verdict_record(made(arms, seed_sd=0.0)).setting


def test_each_arm_of_a_search_over_several_arms_has_its_verdict(made, tmp_path):
    points = ratios(0.25, 0.5, effects={0.25: 20.0, 0.5: 20.0}, arms=("pgs", "x", "y", "z", "flip"))
    results = made([one for one in points if one[0] in ("pgs", "flip", "none")])
    results = Results(results.study, candidate="pgs", baselines=["flip"])
    verdict_record(results).write(tmp_path)
    verdict = VerdictRecord.read(tmp_path)
    said = {label: arm_tags(label, verdict)["verdict"] for label in results.study.labels}
    assert said["pgs mask_ratio=0.25"] == "pgs − flip, mask_ratio=0.25: better"
    assert said["flip mask_ratio=0.5"] == "pgs − flip, mask_ratio=0.5: better"
    assert said["none"] == "not compared"


def test_the_table_of_tasks_has_macro_means_of_groups(made):
    results = made(ARMS)
    table = tasks_table(results)
    assert [cells[0] for cells in table.cells()][:2] == [ALL_GROUPS, "classification"]
    assert row(table, "classification")["chance"] == "25.0"  # the mean of 1/6, 1/4 and 1/3
    scores = results.study.scores.query("label == 'pgs' and primary and group == 'classification'")
    macro = scores.groupby("task")["value"].mean().mean()
    assert row(table, "classification")["pgs"].startswith(f"{100 * macro:.1f} (")
    assert row(table, "scenes/shape")["metric"] == "acc1"


def test_the_table_of_differences_says_what_the_verdict_says(made):
    results = made(ARMS, num_items=300)
    table = differences_table(results)
    for one in group_comparisons(results):
        assert row(table, one.of)[one.pair][0] == {"better": "▲", "worse": "▼", "undecided": "?"}[one.outcome]


def test_points_of_a_search_meet_their_like(made):
    search = {"space": {RATIO: [0.25, 0.5]}}
    results = made(ratios(0.25, 0.5), search=search, candidate="pgs")
    pairs = {(one.candidate, one.baseline) for one in group_comparisons(results)}
    assert pairs == {
        *((f"pgs mask_ratio={r}", f"random mask_ratio={r}") for r in (0.25, 0.5)),
        *((f"pgs mask_ratio={r}", "none") for r in (0.25, 0.5)),
    }
    assert group_comparisons(results)[0].pair == "pgs − random, mask_ratio=0.25"


def test_of_many_points_only_the_best_is_compared(made):
    points = [("pgs", Arm(k, params={"strategy.tau": k / 10})) for k in range(8)] + [("flip", Arm(0.0))]
    results = made(points, seeds=(0,), seed_sd=0.0, num_items=400)
    assert len(results.pairs) == 1
    assert results.pairs[0][0] == results.best(results.labels_of("pgs"))
    assert any("flatters" in badge.sentence for badge in badges(results))


def test_points_without_a_partner_are_not_compared(made):
    def points(arm, *values):
        return [(arm, Arm(params={"strategy.tau": value})) for value in values]

    apart = made([*points("pgs", 0.1, 0.2), *points("flip", 0.3, 0.4)], seeds=(0,))
    half = made([*points("pgs", 0.1, 0.2), *points("flip", 0.2, 0.3)], seeds=(0,), name="half")
    assert (apart.pairs, half.pairs) == ([], [("pgs tau=0.2", "flip tau=0.2")])


def test_different_versions_of_a_task_do_not_compare(fabricate):
    folder = fabricate(seeds=(0,))
    replace_scores(
        next(folder.glob("flip-s0-*")),
        lambda score: replace(score, version=2 if score.task == "scenes/shape" else 1),
    )
    results = Results(read_frames(folder), baselines=["flip"])
    found = {one.of: one.interval for one in group_comparisons(results)}
    assert found["classification"] == Missing("different versions of scenes/shape")
    assert isinstance(found["retrieval"], Interval)


def test_an_unknown_arm_gets_the_nearest_name(fabricate):
    with pytest.raises(StudyError, match="did you mean 'flip'"):
        Results(read_frames(fabricate()), baselines=["flpi"])


def test_a_study_of_one_arm_says_what_it_can(made):
    alone = made({"pgs": Arm()})
    assert headline(alone) == "Nothing is compared."
    assert basis(alone).startswith("The mean of groups, 2 seeds, ")
