"""Worlds against a reference: made-up results whose agreement is known."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import scipy.stats
from fabricated import ARMS, Arm, replace_scores

import pgsbench
from pgsbench.cli import main
from pgsbench.errors import StudyError
from pgsbench.records.scores import Score
from pgsbench.reporting.statistics.intervals import difference, mean_draws
from pgsbench.reporting.statistics.paired_values import PairedValues, TaskValues
from pgsbench.reporting.validity import agreement
from pgsbench.reporting.validity.match import Match, signs
from pgsbench.reporting.validity.world import World

SCORES = {"none": 0.60, "oracle": 0.55, "pgs": 0.50, "grid": 0.46, "flip": 0.42, "block": 0.30}
REVERSED = {arm: 0.9 - score for arm, score in SCORES.items()}


def world(
    scores: Mapping[str, float],
    *,
    name: str = "photos",
    item_sd: float = 0.2,
    seed_sd: float = 0.001,
    num_seeds: int = 3,
    num_items: int = 600,
    rng_seed: int = 0,
) -> World:
    """Return a world whose arms have about these scores."""
    rng = np.random.default_rng(rng_seed)
    items = np.array([f"item-{number}" for number in range(num_items)])
    difficulty = rng.normal(0, 0.3, num_items)
    values = {
        arm: {
            seed: {"task": TaskValues(score + luck + difficulty + rng.normal(0, item_sd, num_items), items)}
            for seed, luck in enumerate(rng.normal(0, seed_sd, num_seeds))
        }
        for arm, score in scores.items()
    }
    paired = PairedValues.build(values, {"task": 1.0}, list(scores))
    return World(name, "mean", paired.means.loc[list(scores)], paired)


def by_seed(scores: Mapping[str, float], *, num_seeds: int = 3, seed_sd: float = 0.01) -> World:
    """Return a world without test items."""
    rng = np.random.default_rng(1)
    means = np.array(list(scores.values()))[:, None] + rng.normal(0, seed_sd, (len(scores), num_seeds))
    return World("by-seed", "acc5", pd.DataFrame(means, list(scores)))


def test_worlds_that_agree() -> None:
    match = Match(world(SCORES), world({arm: 2 * score for arm, score in SCORES.items()}, rng_seed=1))
    found = match.agreement
    assert found.spearman.estimate == found.kendall.estimate == pytest.approx(1)
    assert found.spearman.low > 0.9
    assert found.pearson.estimate > 0.99
    assert found.by_chance < 0.01  # one order of 720
    assert found.repeat > 0.9
    assert not any(pair.is_reversed for pair in match.pairs)
    assert {signs(*both) for both in match.differences("flip").values()} == {"same"}


def test_worlds_in_opposite_order() -> None:
    match = Match(world(SCORES), world(REVERSED, rng_seed=1))
    found = match.agreement
    assert found.spearman.estimate == found.kendall.estimate == pytest.approx(-1)
    assert found.spearman.high < -0.9
    assert found.by_chance > 0.99
    assert all(pair.is_reversed and pair.significant == (True, True) for pair in match.pairs)
    assert (match.pairs[0].ours, match.pairs[0].theirs) == ("none", "block")  # the furthest apart
    assert all(pair.reference.estimate > 0 > pair.world.estimate for pair in match.pairs)
    assert all(pair.world.low < pair.world.estimate < pair.world.high < 0 for pair in match.pairs)
    assert {signs(*both) for both in match.differences("flip").values()} == {"opposite"}


def test_pairs_that_are_sure_come_first() -> None:
    swapped = {**SCORES, "none": 0.55, "oracle": 0.60, "grid": 0.41}
    match = Match(world(SCORES), world(swapped, rng_seed=1))
    vague = Match(world(SCORES), world({**swapped, "grid": 0.419}, rng_seed=1))
    for one in (match, vague):
        (first, second, *others) = one.pairs
        assert (first.ours, first.theirs, first.significant) == ("none", "oracle", (True, True))
        assert (second.ours, second.theirs) == ("grid", "flip")
        assert not any(pair.is_reversed for pair in others)
    assert match.pairs[1].significant == (True, False)
    assert signs(*vague.differences("flip")["grid"]) == "not clear"


def test_correlations_are_scipys_also_with_ties() -> None:
    rng = np.random.default_rng(0)
    for _ in range(20):
        x, y = rng.integers(0, 5, (2, 8)).astype(float)
        for name, reference in (
            ("spearman", scipy.stats.spearmanr),
            ("kendall", scipy.stats.kendalltau),
            ("pearson", scipy.stats.pearsonr),
        ):
            (ours,) = agreement.CORRELATIONS[name](x[None], y[None])
            assert ours == pytest.approx(reference(x, y).statistic)


def test_arms_that_are_all_equal_have_no_order() -> None:
    equal = World("flat", "acc5", pd.DataFrame(0.5, list(SCORES), [0]))
    found = Match(world(SCORES), equal).agreement
    for one in (found.spearman, found.kendall, found.pearson):
        assert np.isnan([one.estimate, one.low, one.high]).all()
    assert np.isnan(found.by_chance)


def test_noise_widens_the_interval_and_makes_a_repetition_agree_less() -> None:
    sharp, vague = (
        Match(world(SCORES, num_items=number), world(SCORES, num_items=number, rng_seed=1)).agreement
        for number in (3000, 12)
    )
    assert vague.spearman.high - vague.spearman.low > 0.3 > sharp.spearman.high - sharp.spearman.low
    assert vague.repeat < 0.95 < sharp.repeat


def test_the_same_seed_gives_the_same_interval() -> None:
    ours, theirs = world(SCORES, num_items=12), world(SCORES, num_items=12, rng_seed=1)
    assert agreement.agreement(ours, theirs) == agreement.agreement(ours, theirs)
    assert agreement.agreement(ours, theirs) != agreement.agreement(ours, theirs, seed=1)


@pytest.mark.parametrize(("num_seeds", "seed_sd"), [(1, 0.0), (3, 0.0), (3, 0.05)])
def test_draws_spread_as_the_interval_of_a_difference_says(num_seeds: int, seed_sd: float) -> None:
    one = world(SCORES, num_seeds=num_seeds, seed_sd=seed_sd)
    assert one.paired is not None
    drawn = mean_draws(one.paired, ["pgs", "flip"], 20_000, np.random.default_rng(0))
    apart = drawn["pgs"] - drawn["flip"]
    told = difference(one.paired, "pgs", "flip")
    assert one.difference("pgs", "flip") == told
    assert apart.mean() == pytest.approx(told.estimate, abs=0.003)
    low, high = np.quantile(apart, [0.025, 0.975])
    assert high - low == pytest.approx(told.high - told.low, rel=0.1)


def test_without_items_seeds_alone_give_intervals() -> None:
    one = by_seed(SCORES)
    told = one.difference("pgs", "flip")
    row = one.means.loc["pgs"] - one.means.loc["flip"]
    assert told.estimate == pytest.approx(row.mean())
    assert told.low < 0.08 < told.high
    drawn = one.draws(20_000, np.random.default_rng(0))
    apart = drawn["pgs"] - drawn["flip"]
    low, high = np.quantile(apart, [0.025, 0.975])
    assert high - low == pytest.approx(told.high - told.low, rel=0.1)


def test_without_items_the_interval_of_two_arms_is_students() -> None:
    one = by_seed({"pgs": 0.5, "flip": 0.4})
    expected = scipy.stats.ttest_rel(one.means.loc["pgs"], one.means.loc["flip"])
    told = one.difference("pgs", "flip")
    assert told.p_value == pytest.approx(expected.pvalue)
    assert (told.low, told.high) == pytest.approx(tuple(expected.confidence_interval(0.95)))


def test_one_seed_without_items_has_no_interval() -> None:
    found = Match(world(SCORES), by_seed(SCORES, num_seeds=1))
    assert found.agreement.spearman.estimate > 0.9
    assert np.isnan(found.agreement.spearman.low)
    assert {signs(*both) for both in found.differences("flip").values()} == {"not clear"}
    assert not any(any(pair.significant[1:]) for pair in found.pairs)


# ------------------------------------------------------------------------------------------- studies on disk


def opposite() -> dict[str, Arm]:
    return {name: Arm(-3 * arm.effect, mask_ratio=arm.mask_ratio) for name, arm in ARMS.items()}


def test_studies_are_matched_by_the_names_of_arms(fabricate, tmp_path: Path) -> None:
    photos = {**ARMS, "block": Arm(-4.0)}
    fabricate(photos, name="photos", num_items=400, seed_sd=0.0)
    fabricate({**opposite(), "grid": Arm(1.0)}, name="flat", num_items=400, seed_sd=0.0, rng_seed=1)
    fabricate({**photos, "grid": Arm(1.0)}, name="good", num_items=400, seed_sd=0.0, rng_seed=2)
    found = pgsbench.validity("photos", ["flat", "good:classification"], output=tmp_path)
    flat, good = found.agreement.to_dict("records")
    assert (flat["arms"], good["arms"], good["metric"]) == (5, 6, "classification")
    assert flat["spearman"] < -0.8 < 0.8 < good["spearman"]
    assert found.baseline == "flip"
    rows = found.differences.set_index(["world", "arm"])
    assert rows.loc[("flat", "oracle"), "signs"] == "opposite"
    assert rows.loc[("good", "oracle"), "signs"] == "same"
    assert set(found.disagreements["world"]) >= {"flat"}
    worst = found.disagreements.iloc[0]
    assert (worst["better"], worst["significant_reference"], worst["significant_world"]) == (
        "oracle",
        True,
        True,
    )
    assert (
        "the sign is wrong"
        in pgsbench.validity("photos", ["flat"], candidate="oracle", output=tmp_path).verdict
    )


def test_only_wanted_arms_count(fabricate, tmp_path: Path) -> None:
    fabricate(name="photos")
    fabricate(name="scenes", rng_seed=1)
    found = pgsbench.validity("photos", ["scenes"], arms=["oracle", "flip", "random"], output=tmp_path)
    assert found.agreement["arms"].tolist() == [3]
    with pytest.raises(StudyError, match="not both studies have scores of this arm"):
        pgsbench.validity("photos", ["scenes"], arms=["oracle", "flip", "block"], output=tmp_path)
    with pytest.raises(StudyError, match="not all studies have this arm"):
        pgsbench.validity("photos", ["scenes"], baseline="block", output=tmp_path)


def test_two_shared_arms_have_no_order_worth_the_name(fabricate, tmp_path: Path) -> None:
    fabricate(name="photos")
    fabricate({"pgs": ARMS["pgs"], "flip": ARMS["flip"], "grid": Arm(0.0)}, name="scenes")
    with pytest.raises(StudyError, match=r"at least 3 arms of the same name(.|\n)*they have pgs, none, flip"):
        pgsbench.validity("photos", ["scenes"], output=tmp_path)


def test_a_metric_beside_the_main_one_is_taken_by_seed(fabricate, tmp_path: Path) -> None:
    fabricate(name="photos")
    fabricate(name="scenes", rng_seed=1)
    metric = "scenes/shape/mean_per_class_recall"
    (match,) = pgsbench.validity("photos:scenes/shape/acc1", [f"scenes:{metric}"], output=tmp_path).matches
    assert match.reference.paired is not None
    assert match.world.paired is None
    assert match.world.seeds == [0, 1, 2]
    with pytest.raises(StudyError, match=r"scenes: the suite has no such score \(got 'clasification'\)"):
        pgsbench.validity("photos", ["scenes:clasification"], output=tmp_path)


def test_settings_that_differ_are_told(fabricate, tmp_path: Path) -> None:
    fabricate({**ARMS, "pgs": Arm(2.0, strategy={"tau": 0.2})}, name="photos")
    fabricate({**ARMS, "pgs": Arm(2.0, strategy={"tau": 0.1})}, name="scenes")
    verdict = pgsbench.validity("photos", ["scenes"], output=tmp_path).verdict
    assert "Settings differ between photos and scenes: pgs (tau 0.2 against 0.1)." in verdict


def test_one_seed_is_said_first(fabricate, tmp_path: Path) -> None:
    fabricate(name="photos")
    fabricate(name="scenes", seeds=(0,))
    assert pgsbench.validity("photos", ["scenes"], output=tmp_path).verdict.startswith(
        "This training run only"
    )


def test_runs_without_scores_are_left_out(fabricate, tmp_path: Path) -> None:
    folder = fabricate(name="photos")
    fabricate(name="scenes", rng_seed=1)

    def drop(score: Score) -> None:
        return None

    for run in folder.glob("random-*"):
        replace_scores(run, drop, groups={})
        (run / "scores.json").unlink()
    assert pgsbench.validity("photos", ["scenes"], output=tmp_path).agreement["arms"].tolist() == [4]


def test_the_command(
    fabricate, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    fabricate(name="photos")
    fabricate(opposite(), name="scenes", rng_seed=1)
    figure = tmp_path / "validity.svg"
    words = ["pgsbench", "validity", "photos", "scenes", "--output", str(tmp_path)]
    monkeypatch.setattr("sys.argv", [*words, "--figure", str(figure)])
    with pytest.raises(SystemExit) as end:
        main()
    assert not end.value.code
    told = capsys.readouterr().out
    for part in ("Order of arms, against photos (mean)", "Where scenes reverses photos", "the sign"):
        assert part in told
    assert "<svg" in figure.read_text()
    monkeypatch.setattr("sys.argv", [*words, "--json"])
    with pytest.raises(SystemExit):
        main()
    tables = json.loads(capsys.readouterr().out)
    assert tables["Order of arms, against photos (mean)"][0]["world"] == "scenes"
