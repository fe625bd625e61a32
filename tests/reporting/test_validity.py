"""Worlds against a reference: made-up results whose agreement is known."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
import scipy.stats
from fabricated import ARMS, Arm

import pgsbench
from pgsbench.cli import main
from pgsbench.errors import StudyError
from pgsbench.reporting.agreement import Match, World, agreement, signs
from pgsbench.reporting.pages.answer_pages import write_validity
from pgsbench.reporting.statistics.intervals import difference, mean_draws
from pgsbench.reporting.statistics.paired_values import PairedValues
from pgsbench.reporting.statistics.task_values import TaskValues

SCORES = {"none": 0.60, "oracle": 0.55, "pgs": 0.50, "grid": 0.46, "flip": 0.42, "block": 0.30}
REVERSED = {arm: 0.9 - score for arm, score in SCORES.items()}


def world(
    scores: Mapping[str, float],
    *,
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
    return World("photos", "mean", list(scores), PairedValues.build(values, {"task": 1.0}, list(scores)))


def test_worlds_that_agree() -> None:
    match = Match(world(SCORES), world({arm: 2 * score for arm, score in SCORES.items()}, rng_seed=1))
    found = match.agreement
    assert found.spearman.estimate == pytest.approx(1)
    assert found.spearman.low > 0.9
    assert found.by_chance < 0.01  # one order of 720
    assert found.repeat > 0.9
    assert not any(pair.is_reversed for pair in match.pairs)
    assert {signs(*both) for both in match.differences("flip").values()} == {"same"}


def test_worlds_in_opposite_order() -> None:
    match = Match(world(SCORES), world(REVERSED, rng_seed=1))
    found = match.agreement
    assert found.spearman.estimate == pytest.approx(-1)
    assert found.spearman.high < -0.9
    assert found.by_chance > 0.99
    assert all(pair.is_reversed and pair.significant == (True, True) for pair in match.pairs)
    assert (match.pairs[0].ours, match.pairs[0].theirs) == ("none", "block")  # the furthest apart
    assert all(pair.reference.estimate > 0 > pair.world.high for pair in match.pairs)
    assert {signs(*both) for both in match.differences("flip").values()} == {"opposite"}


def test_the_correlation_is_scipys_also_with_ties() -> None:
    rng = np.random.default_rng(0)
    for _ in range(5):
        ours, theirs = (dict(zip(SCORES, rng.integers(0, 3, 6) / 4, strict=True)) for _ in range(2))
        found = agreement(*(world(one, item_sd=0, seed_sd=0, num_items=20) for one in (ours, theirs)))
        expected = scipy.stats.spearmanr(list(ours.values()), list(theirs.values())).statistic
        assert found.spearman.estimate == pytest.approx(expected)


def test_arms_that_are_all_equal_have_no_order() -> None:
    found = agreement(world(SCORES), world(dict.fromkeys(SCORES, 0.5), item_sd=0, seed_sd=0))
    assert np.isnan([*found.spearman[:3], found.by_chance, found.repeat, *found.other_arms]).all()


@pytest.mark.parametrize(("num_seeds", "seed_sd"), [(1, 0.0), (3, 0.0), (3, 0.05)])
def test_draws_spread_as_the_interval_of_a_difference_says(num_seeds: int, seed_sd: float) -> None:
    paired = world(SCORES, num_seeds=num_seeds, seed_sd=seed_sd).paired
    drawn = mean_draws(paired, ["pgs", "flip"], 20_000, np.random.default_rng(0))
    apart = drawn["pgs"] - drawn["flip"]
    told = difference(paired, "pgs", "flip")
    assert apart.mean() == pytest.approx(told.estimate, abs=0.003)
    low, high = np.quantile(apart, [0.025, 0.975])
    assert high - low == pytest.approx(told.high - told.low, rel=0.1)


# ------------------------------------------------------------------------------------------- studies on disk


def opposite() -> dict[str, Arm]:
    return {name: Arm(-3 * arm.effect, mask_ratio=arm.mask_ratio) for name, arm in ARMS.items()}


def test_studies_are_matched_by_the_names_of_arms(fabricate, tmp_path: Path) -> None:
    photos = {**ARMS, "block": Arm(-4.0)}
    fabricate(photos, name="photos", num_items=400, seed_sd=0.0)
    fabricate({**opposite(), "grid": Arm(1.0)}, name="flat", num_items=400, seed_sd=0.0, rng_seed=1)
    fabricate({**photos, "grid": Arm(1.0)}, name="good", num_items=400, seed_sd=0.0, rng_seed=2)
    worlds = ["flat", "good:classification"]
    found = pgsbench.validity("photos", worlds, candidate="oracle", output=tmp_path)
    flat, good = found.matches
    assert (len(flat.world.arms), len(good.world.arms), good.world.metric) == (5, 6, "classification")
    assert flat.agreement.spearman.estimate < -0.8 < 0.8 < good.agreement.spearman.estimate
    assert found.baseline == "flip"
    assert signs(*flat.differences("flip")["oracle"]) == "opposite"
    assert signs(*good.differences("flip")["oracle"]) == "same"
    assert (flat.pairs[0].ours, flat.pairs[0].significant) == ("oracle", (True, True))
    assert "the sign is wrong" in found.verdict
    assert "the sign is wrong" in found._repr_html_()
    assert found.headline.startswith("Of two worlds good orders 6 arms most like photos: Spearman ")
    page = write_validity(found, tmp_path / "worlds.html").read_text()
    assert found.headline in page
    assert page.count("<svg") == 0
    assert page.count("Order of arms, against photos") == 1  # beside the picture, and not again below
    assert page.count('<p class="asked">') == 2


def test_what_cannot_be_compared_is_refused(fabricate, tmp_path: Path) -> None:
    fabricate(name="photos")
    fabricate(name="scenes", rng_seed=1)
    fabricate({"pgs": ARMS["pgs"], "flip": ARMS["flip"], "grid": Arm(0.0)}, name="few")
    wanted = ["oracle", "flip", "random"]
    (match,) = pgsbench.validity("photos", ["scenes"], arms=wanted, output=tmp_path).matches
    assert sorted(match.world.arms) == sorted(wanted)
    with pytest.raises(StudyError, match="not both studies have scores of this arm"):
        pgsbench.validity("photos", ["scenes"], arms=[*wanted, "block"], output=tmp_path)
    with pytest.raises(StudyError, match="not all studies have this arm"):
        pgsbench.validity("photos", ["scenes"], baseline="block", output=tmp_path)
    with pytest.raises(StudyError, match=r"at least 3 arms of the same name(.|\n)*they have pgs, none, flip"):
        pgsbench.validity("photos", ["few"], output=tmp_path)
    for metric in ("clasification", "scenes/shape/mean_per_class_recall"):
        with pytest.raises(StudyError, match="scenes: the suite has no such score"):
            pgsbench.validity("photos:scenes/shape/acc1", [f"scenes:{metric}"], output=tmp_path)


def test_settings_that_differ_and_one_seed_are_told(fabricate, tmp_path: Path) -> None:
    fabricate({**ARMS, "pgs": Arm(2.0, strategy={"tau": 0.2})}, name="photos")
    fabricate({**ARMS, "pgs": Arm(2.0, strategy={"tau": 0.1})}, name="scenes", seeds=(0,))
    found = pgsbench.validity("photos", ["scenes"], output=tmp_path)
    verdict = found.verdict
    assert list(found.limits) == ["one seed", "settings differ"]
    assert "Settings differ between photos and scenes: pgs (tau 0.2 against 0.1)." in verdict
    assert "One seed: another seed may say otherwise." in verdict.splitlines()


def test_runs_without_scores_are_left_out(fabricate, tmp_path: Path) -> None:
    folder = fabricate(name="photos")
    fabricate(name="scenes", rng_seed=1)
    for run in folder.glob("random-*"):
        (run / "scores.json").unlink()
    (match,) = pgsbench.validity("photos", ["scenes"], output=tmp_path).matches
    assert "random" not in match.world.arms


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
