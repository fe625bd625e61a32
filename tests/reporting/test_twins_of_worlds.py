"""Twins of what is told of several studies: how worlds agree, and how errors fall with the budget."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest
import statsmodels.api as sm
from fabricated import Arm, write_runs
from scipy import stats
from twin import MEAN, Estimate, Twin, holm
from twin_study import numbers

from pgsbench.reporting.agreement import signs
from pgsbench.reporting.results import Results
from pgsbench.reporting.scale import Scaling, measured
from pgsbench.reporting.study_frames import read_frames
from pgsbench.reporting.validity import Validity

PHOTOS = {"pgs": 12, "none": 20, "flip": 0, "block": 3, "oracle": 26}
SCENES = {"oracle": 24, "block": 14, "flip": 2, "none": 9, "pgs": 10}  # in another order of arms
BUDGETS = {0.5: 0.0, 1.0: 6.0, 2.0: 10.0, 4.0: 16.0}  # budget -> points over the first


def write(root: Path, name: str, points: dict[str, float], rng_seed: int, budget: float = 1.0) -> Path:
    arms = {arm: Arm(gain, flops=int(1e12 * budget)) for arm, gain in points.items()}
    return write_runs(root / "runs", arms, name=name, num_items=100, seed_sd=0.2, rng_seed=rng_seed)


@pytest.fixture(scope="module")
def worlds(tmp_path_factory: pytest.TempPathFactory) -> tuple[Validity, Twin, Twin]:
    root = tmp_path_factory.mktemp("worlds")
    photos, scenes = write(root, "photos", PHOTOS, 1), write(root, "scenes", SCENES, 2)
    believed, other = (Results(read_frames(folder)) for folder in (photos, scenes))
    # As a report before it might: panels in other orders are there already.
    believed.difference("none", "oracle", MEAN)
    other.difference("flip", "pgs", MEAN)
    return Validity.of((believed, "mean"), [(other, "mean")]), Twin(photos, {}), Twin(scenes, {})


def test_the_correlation_of_two_worlds_has_its_twin(worlds: tuple[Validity, Twin, Twin]) -> None:
    validity, *twins = worlds
    arms, found = list(PHOTOS), validity.matches[0].agreement
    panels = [twin.panel(MEAN, arms) for twin in twins]
    ours, theirs = (panel.scores(arms) for panel in panels)
    rng = np.random.default_rng(3)
    drawn = [panel.draws(arms, 2000, rng) for panel in panels]
    estimate = stats.spearmanr(ours, theirs).statistic
    assert found.spearman.estimate == pytest.approx(estimate)
    low, high = np.quantile(
        [stats.spearmanr(*pair).statistic for pair in zip(*drawn, strict=True)], [0.025, 0.975]
    )
    ends = max(-1, min(low, 2 * estimate - high)), min(1, max(high, 2 * estimate - low))
    assert (found.spearman.low, found.spearman.high) == pytest.approx(
        ends, abs=0.101
    )  # of five arms there are few correlations
    orders = [stats.spearmanr(ours, order).statistic for order in itertools.permutations(theirs)]
    assert found.by_chance == pytest.approx(np.mean(np.array(orders) >= estimate - 1e-9), abs=0.01)
    again = [stats.spearmanr(ours, draw).statistic for draw in drawn[0]]
    assert found.repeat == pytest.approx(np.median(again), abs=0.101)


def test_differences_in_two_worlds_have_their_twins(worlds: tuple[Validity, Twin, Twin]) -> None:
    validity, *twins = worlds
    found = validity.matches[0].differences("flip")
    assert len(found) == 4
    for arm, both in found.items():
        clear = []
        for told, twin in zip(both, twins, strict=True):
            own = twin.difference(arm, "flip", MEAN)
            assert (told.estimate, told.low, told.high) == pytest.approx((own.estimate, *own.ends))
            clear.append(np.sign(own.estimate) if own.p_value < 0.05 else 0)
        assert signs(*both) == {1: "same", -1: "opposite", 0: "not clear"}[int(np.prod(clear))]


def test_pairs_that_a_world_reverses_have_their_twins(worlds: tuple[Validity, Twin, Twin]) -> None:
    validity, *twins = worlds
    pairs = list(itertools.combinations(PHOTOS, 2))
    found: list[dict[tuple[str, str], Estimate]] = [
        {pair: twin.difference(*pair, MEAN) for pair in pairs} for twin in twins
    ]
    surely = [
        dict(zip(pairs, holm([each.p_value for each in one.values()]) < 0.05, strict=True)) for one in found
    ]
    wanted = {}
    for pair in pairs:
        ours, theirs = (one[pair].estimate for one in found)
        if ours * theirs < 0:
            names, sign = (pair, 1) if ours > 0 else (pair[::-1], -1)
            wanted[names] = (sign * ours, sign * theirs), tuple(one[pair] for one in surely)
    told = [pair for pair in validity.matches[0].pairs if pair.is_reversed]
    assert len(told) == len(wanted) > 0
    for one in told:
        estimates, significant = wanted[one.ours, one.theirs]
        assert (one.reference.estimate, one.world.estimate) == pytest.approx(estimates)
        assert one.significant == significant


def test_power_laws_have_their_twins(tmp_path: Path) -> None:
    folders = [
        write(tmp_path, f"x{budget:g}", {"pgs": gain * 1.4, "flip": gain, "none": 1.0}, seed, budget)
        for seed, (budget, gain) in enumerate(BUDGETS.items())
    ]
    by_budget = [measured(Results(read_frames(folder)), "flops") for folder in folders]
    scaling = Scaling(by_budget, "flops")
    laws, (fits,) = scaling.laws, scaling.tables
    rows = {row[0]: row for row in fits.cells()}
    lines = {}
    for arm, law in laws.items():
        found = [Twin(folder, {}).mean(arm, MEAN) for folder in folders]
        left = np.array([1 - one.estimate for one in found])
        line = sm.OLS(np.log(left), sm.add_constant(np.log(list(BUDGETS)))).fit()
        # The points lie about the line no closer than they are known.
        scale = max(
            line.mse_resid, np.mean([(one.error / each) ** 2 for one, each in zip(found, left, strict=True)])
        )
        reach = stats.t.ppf(0.975, 2) * np.sqrt(line.normalized_cov_params[1, 1] * scale)
        slope = line.params[1]
        assert numbers(rows[arm][1]) == pytest.approx([slope, slope - reach, slope + reach], abs=5.1e-4)
        at = np.array([1.0, np.log(8.0)])
        error = np.sqrt(scale * (1 + at @ line.normalized_cov_params @ at))
        ends = 1 - np.exp(at @ line.params + stats.t.ppf(0.975, 2) * error * np.array([0, 1, -1]))
        told = law.predict(8.0)
        assert (told.estimate, told.low, told.high) == pytest.approx(np.maximum(0.0, ends))
        lines[arm] = line.params
    for arm in ("flip", "none"):
        (ours, fall), (theirs, falls) = lines["pgs"], lines[arm]
        meets = np.exp((theirs - ours) / (fall - falls))
        near = min(BUDGETS) / 4 <= meets <= max(BUDGETS) * 4
        assert rows[arm][2] == (f"{meets:,.3g}" if near else "nowhere near")
