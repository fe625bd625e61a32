"""How much seeds matter: a study's own estimate, what it borrows, and whether arms vary alike."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
from fabricated import GPU, Arm, write_runs
from scipy import stats

from pgsbench.records.study_record import Margin
from pgsbench.reporting import recipe_spread
from pgsbench.reporting.badges import seed_spread
from pgsbench.reporting.decision.decide import decide
from pgsbench.reporting.results import Results
from pgsbench.reporting.statistics.intervals import difference, mean_draws
from pgsbench.reporting.statistics.paired_values import PairedValues, SeedSpread
from pgsbench.reporting.statistics.variance import alone_p, equal_spread_p
from pgsbench.reporting.study_frames import read_frames
from research.spread_row import main, rows

LEAD = {"a": 1.0, "b": -1.0}
OF = "mean of groups"


def panel(means, *, rest=0.0, items=400, borrowed=None, rng_seed=0):
    """Arms with these (a, s) means, and with item-by-seed noise of this standard deviation in a mean."""
    rng, means = np.random.default_rng(rng_seed), np.asarray(means, float)
    arms = [chr(ord("a") + k) for k in range(len(means))]
    own = rng.normal(0, 1, (*means.shape, items))
    own -= own.mean(axis=-1, keepdims=True)
    own *= rest / np.sqrt(np.square(own).sum(axis=-1, keepdims=True))
    by_arm = {arm: pd.DataFrame(rows) for arm, rows in zip(arms, own, strict=True)}
    return PairedValues(pd.DataFrame(means, arms), by_arm, 1e-12, borrowed=borrowed)


def test_what_is_borrowed_is_pooled_by_degrees_of_freedom():
    means = np.array([[0.5, 0.54, 0.51], [0.5, 0.5, 0.5]])
    spread = SeedSpread(0.01**2, 20.0)
    found = difference(panel(means, borrowed=spread), "a", "b")
    own = (means[0] - means[1]).var(ddof=1)
    error = np.sqrt((20 * 2 * spread.variance + 2 * own) / 22 / 3)
    assert (found.high - found.low) / 2 == pytest.approx(stats.t.ppf(0.975, 22) * error, rel=1e-6)
    assert found.df == pytest.approx(22)
    assert difference(panel(means), "a", "b").df == pytest.approx(2)


def test_the_noise_of_test_items_is_the_borrower_s_own():
    means = np.array([[0.5, 0.54, 0.51], [0.5, 0.5, 0.5]])
    quiet, loud = (SeedSpread(0.01**2, 20.0, noise=noise) for noise in (0.01**2, 0.02**2))
    found, few = (difference(panel(means, rest=0.01, borrowed=one), "a", "b").df for one in (quiet, loud))
    assert few < found  # more noise behind what is borrowed than here: it is known less well
    # As noisy as here: the squares and their degrees of freedom are simply pooled.
    square = (20 * 2 * (1e-4 + 1e-4) + 2 * (means[0] - means[1]).var(ddof=1)) / 22
    total = difference(panel(means, rest=0.01, borrowed=quiet), "a", "b")
    error = (total.high - total.low) / 2 / stats.t.ppf(0.975, total.df)
    assert error**2 == pytest.approx(square / 3, rel=0.1)  # all that test items add here is noise


def test_seeds_that_are_seen_to_add_nothing_leave_their_degrees_of_freedom():
    means = [[0.5, 0.5, 0.5], [0.45, 0.45, 0.45]]
    found = difference(panel(means, rest=0.01), "a", "b")
    assert found.df == pytest.approx(2)
    assert difference(panel(means), "a", "b").df == 399  # no answer changed with the seed
    borrowed = difference(panel(means, rest=0.01, borrowed=SeedSpread(0.0, 20.0)), "a", "b")
    assert borrowed.df == pytest.approx(22)
    drawn = mean_draws(panel(means, rest=0.01), ["a", "b"], 4000, np.random.default_rng(0))
    alone = panel(means, rest=0.01).influence["a"].mean().pow(2).sum()
    assert drawn["a"].var() > 1.5 * alone  # the draws know that seeds may matter


def test_one_seed_borrows_nothing():
    means = [[0.5], [0.45]]
    alone, lent = (difference(panel(means, rest=0.01, borrowed=one), "a", "b") for one in (None, SPREAD))
    assert alone == lent


SPREAD = SeedSpread(0.03**2, 20.0, "photos")


def test_another_study_of_the_recipe_lends_what_it_knows(tmp_path):
    write_runs(tmp_path, {"grid": Arm(), "block": Arm()}, name="lender", seeds=range(4), rng_seed=1)
    own = Results(read_frames(write_runs(tmp_path, {"pgs": Arm(), "flip": Arm()}, seeds=range(2))))
    spread = own.borrowed(OF)
    paired = Results(read_frames(tmp_path / "lender")).pair_up(["grid", "block"], OF)
    own_square = (paired.means.loc["grid"] - paired.means.loc["block"]).var() / 2
    assert spread.df == 3
    assert spread.source == "lender"
    assert spread.variance + spread.noise == pytest.approx(own_square)
    assert own.pair_up(["pgs", "flip"], OF).borrowed == spread
    said = seed_spread(own)
    assert "; 1 degrees of freedom, 3 borrowed from lender)" in said


def test_other_recipes_lend_nothing(tmp_path):
    others = {
        "data": Arm(data="another"),
        "samples": Arm(training={"samples": 640}),
        "batch": Arm(training={"batch_size": 32}),
    }
    for name, arm in others.items():
        write_runs(tmp_path, {"grid": arm, "block": arm}, name=name, seeds=range(4))
    own = Results(read_frames(write_runs(tmp_path, {"pgs": Arm(), "flip": Arm()}, seeds=range(2))))
    assert own.borrowed(OF) is None
    assert "none borrowed" in seed_spread(own)
    mixed = write_runs(tmp_path, {"pgs": Arm(), "flip": Arm(data="another")}, name="mixed")
    assert Results(read_frames(mixed)).borrowed(OF) is None


def test_no_training_is_counted_twice(tmp_path):
    arms = {"grid": Arm(), "block": Arm()}
    write_runs(tmp_path, {**arms, "flip": Arm(numerics=GPU)}, name="first", seeds=range(3))
    write_runs(tmp_path, {"grid": Arm(), "cluster": Arm()}, name="second", seeds=range(3))
    own = Results(read_frames(write_runs(tmp_path, {"pgs": Arm(), "flip": Arm()}, seeds=range(2))))
    # grid and block of the first, flip's third seed being one alone; of the second only cluster is new.
    assert own.borrowed(OF).df == 2
    assert own.borrowed(OF).source == "first"


def test_no_more_than_twenty_degrees_of_freedom_are_borrowed(tmp_path):
    arms = {f"arm{k}": Arm(strategy={"tau": k / 20}) for k in range(9)}
    write_runs(tmp_path, arms, name="large", seeds=range(5), num_items=60)
    own = Results(read_frames(write_runs(tmp_path, {"pgs": Arm(), "flip": Arm()}, seeds=range(2))))
    assert own.borrowed(OF).df == 20


def test_a_row_that_ships_lends_as_the_study_does_but_for_trainings_that_are_known(
    tmp_path, monkeypatch, capsys
):
    lender = write_runs(tmp_path / "there", {"flip": Arm(), "block": Arm()}, name="lender", seeds=range(4))
    main([str(lender)])
    row = json.loads(capsys.readouterr().out)
    assert [row] == list(rows(read_frames(lender)))
    monkeypatch.setattr(recipe_spread, "shipped", lambda: [row])
    new = Results(read_frames(write_runs(tmp_path / "here", {"pgs": Arm(), "grid": Arm()}, seeds=range(2))))
    assert new.borrowed(OF).df == 3
    assert new.borrowed(OF).variance == pytest.approx(max(0.0, row["scopes"][OF]["variance"]))
    half = Results(read_frames(write_runs(tmp_path / "2", {"pgs": Arm(), "flip": Arm()}, seeds=range(4))))
    assert half.borrowed(OF).df == pytest.approx(1.5)  # four of its eight trainings are this study's own
    assert Results(read_frames(lender)).borrowed(OF) is None


def test_arms_that_vary_unlike_are_found():
    rng = np.random.default_rng(0)
    means = rng.normal(0.5, 0.01, (6, 8))
    assert equal_spread_p(means) > 0.05
    centred = means - means.mean(axis=1, keepdims=True)
    own = centred - centred.mean(axis=0)
    assert equal_spread_p(means) == pytest.approx(stats.bartlett(*own).pvalue)
    means[0] = 0.5 + 5 * (means[0] - 0.5)
    assert equal_spread_p(means) < 0.05
    assert np.isnan(equal_spread_p(means[:2]))
    assert np.isnan(equal_spread_p(means[:, :1]))


def test_two_arms_alone_are_a_paired_t_test_and_of_more_welch_s():
    rng = np.random.default_rng(2)
    means = rng.normal(0.5, 0.01, (2, 5))
    assert alone_p(means, 0, 1) == pytest.approx(stats.ttest_rel(*means).pvalue)
    many = rng.normal(0.5, 0.01, (40, 5))  # what arms share is then hardly their own
    assert alone_p(many, 0, 1) == pytest.approx(
        stats.ttest_ind(*(many[:2] - many.mean(axis=0)), equal_var=False).pvalue, rel=0.05
    )


def test_a_verdict_that_hangs_on_pooling_says_so():
    rng = np.random.default_rng(3)
    means = rng.normal(0.5, 0.002, (6, 2))
    means[0], means[1] = (0.506, 0.514), (0.5, 0.5)
    (pooled,) = decide([("a", "b", panel(means, rest=1e-4))], None, Margin(0.01))
    assert pooled.outcome == "better"
    assert "by the seeds of these two arms alone it is undecided (p = 0." in pooled.note
    means = rng.normal(0, 1e-3, (6, 4)) + np.arange(6)[:, None]
    (clear,) = decide([("b", "a", panel(means, rest=1e-4))], None, Margin(0.01))
    assert (clear.outcome, clear.note) == ("better", "")
