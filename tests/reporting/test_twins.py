"""Every number of a report has a twin, made from the files of its runs by other means (`twin.py`)."""

from __future__ import annotations

import itertools
import json

import numpy as np
import pandas as pd
import pytest
from statsmodels.formula.api import ols
from statsmodels.stats.anova import anova_lm
from twin import MEAN, holm, outcomes, power, rank_ranges
from twin_study import LACKED, LACKING, Made, make, numbers, shown

from pgsbench.reporting.decision.forecast import power_table
from pgsbench.reporting.findings import Findings
from pgsbench.reporting.pages.details import detail_tables
from pgsbench.reporting.render import MARKS
from pgsbench.reporting.results import Results


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    root = tmp_path_factory.mktemp("twins")
    return Made.of(make(root), root / "reports")


def comparisons(made: Made) -> pd.DataFrame:
    return pd.read_csv(made.report / "comparisons.csv")


def test_every_difference_has_its_twin(made: Made) -> None:
    told = comparisons(made)
    assert set(told["candidate"]) == set(made.points)
    for row in told.itertuples():
        found = made.twin.difference(row.candidate, row.baseline, row.of)
        assert (row.num_seeds, row.num_items) == (found.num_seeds, found.num_items)
        assert (row.estimate, row.p_value, row.df) == pytest.approx((found.estimate, found.p_value, found.df))
        assert (row.low, row.high) == pytest.approx(found.ends)
    assert set(told.loc[told["baseline"] == "none", "num_seeds"]) == {3}
    lacking = told[(told["baseline"] == "flip") & told["of"].isin([MEAN, "robustness", LACKED])]
    assert set(lacking["num_seeds"]) == {2}


@pytest.mark.parametrize("family", ["headline", "groups", "tasks"])
def test_p_values_and_verdicts_of_a_family_are_holm_s(made: Made, family: str) -> None:
    told = comparisons(made)
    is_headline = told["of"] == MEAN
    of_family = told["family"] == ("groups" if family == "headline" else family)
    # The headline is decided by itself; the other groups are corrected together with it.
    rows = told[is_headline if family == "headline" else of_family]
    found = [
        made.twin.difference(*pair) for pair in rows[["candidate", "baseline", "of"]].itertuples(index=False)
    ]
    adjusted = pd.Series(holm([one.p_value for one in found]), rows.index)
    said = pd.Series(outcomes(found), rows.index).replace("equivalent", "undecided")
    if family == "headline":
        said = pd.Series(outcomes(found), rows.index)
    kept = rows.index[~is_headline[rows.index]] if family == "groups" else rows.index
    assert rows.loc[kept, "p_value_holm"].to_numpy() == pytest.approx(adjusted[kept].to_numpy())
    plain = rows.loc[kept, "verdict"].str.removesuffix(" (exploratory)")
    assert plain.tolist() == said[kept].tolist()
    assert len(set(said)) > 1


def test_the_page_shows_the_differences_and_verdicts_of_the_numbers(made: Made) -> None:
    told = comparisons(made)
    table = next(one for one in detail_tables(Results(made.frames)) if one.title.startswith("Differences"))
    cells = pd.DataFrame(table.cells(), columns=table.names).set_index("group or task")
    verdict = json.loads((made.report / "verdict.json").read_text())
    for row in told.itertuples():
        pair = f"{row.candidate} − {row.baseline}"
        assert numbers(cells.loc[row.of, pair]) == shown(row.estimate, row.low, row.high)
        assert cells.loc[row.of, pair].startswith(MARKS[row.verdict.removesuffix(" (exploratory)")])
        if row.of == MEAN:
            assert verdict["outcomes"][pair] == row.verdict
    headline = [made.twin.difference(*pair, MEAN) for pair in verdict["compared"].values()]
    assert list(verdict["outcomes"].values()) == outcomes(headline)


def test_every_mean_has_its_twin(made: Made) -> None:
    verdict = json.loads((made.report / "verdict.json").read_text())["scores"]
    frame = Findings(Results(made.frames)).scores
    cells = made.table("group or task", "metric", "n", "chance").set_index("group or task")
    arms = pd.read_csv(made.report / "arms.csv").set_index("arm")
    for row in frame.itertuples():
        found = made.twin.mean(row.label, row.group)
        told = verdict[row.label][row.group]
        expected = found.estimate, max(0.0, found.ends[0]), min(1.0, found.ends[1])
        assert (row.score, row.low, row.high) == pytest.approx(expected)
        assert (told["value"], told["low"], told["high"]) == pytest.approx(expected)
        assert numbers(cells.loc[row.group, row.label]) == shown(*expected)
        assert row.chance == pytest.approx(made.twin.chance(row.group))
        assert numbers(cells.loc[row.group, "chance"]) == shown(made.twin.chance(row.group))
        if row.group == MEAN:
            ends = arms.loc[row.label, ["score", "score low", "score high"]]
            assert list(ends) == pytest.approx([100 * one for one in expected])
    tasks = [of for of in cells.index if "/" in of]
    assert len(tasks) == 8
    for task, label in itertools.product(tasks, verdict):
        found = made.twin.mean(label, task)
        assert numbers(cells.loc[task, label]) == shown(
            found.estimate, max(0.0, found.ends[0]), min(1.0, found.ends[1])
        )


def test_scores_of_runs_are_the_means_of_their_items(made: Made) -> None:
    told = (
        pd.read_csv(made.report / "scores.csv").query("primary").set_index(["label", "seed", "task"])["value"]
    )
    found = made.twin.values.groupby(["label", "seed", "task"])["value"].mean()
    pd.testing.assert_series_equal(told.sort_index(), found, check_names=False)
    assert (*LACKING, LACKED) not in told.index


def cells_of(made: Made) -> pd.DataFrame:
    """One row a run of the grid: tau, text, seed, score."""
    scores = made.twin.panel(MEAN, made.points).means.stack().rename("score").reset_index()
    return scores.merge(made.twin.runs[["label", "seed", "tau", "text"]])


def test_shares_of_the_variance_have_their_twins(made: Made) -> None:
    lines = anova_lm(ols("score ~ C(tau) * C(text) + C(seed)", cells_of(made)).fit(), typ=2)
    total, noise = lines["sum_sq"].sum(), lines["sum_sq"]["Residual"] / lines["df"]["Residual"]
    table = made.table("source", "share", "by chance", "p").set_index("source")
    names = {
        "tau": "C(tau)",
        "text": "C(text)",
        "tau × text": "C(tau):C(text)",
        "seeds": "C(seed)",
        "rest": "Residual",
    }
    assert set(table.index) == set(names)
    for name, line in names.items():
        assert numbers(table.loc[name, "share"]) == shown(lines["sum_sq"][line] / total)
        if name != "rest":
            assert numbers(table.loc[name, "by chance"]) == shown(lines["df"][line] * noise / total)
            p = lines["PR(>F)"][line]
            assert numbers(table.loc[name, "p"]) == pytest.approx([max(p, 1e-3)], abs=6e-4)


def test_main_effects_have_their_twins(made: Made) -> None:
    panel, of = made.twin.panel(MEAN, made.points), made.twin.runs.drop_duplicates("label").set_index("label")
    table = made.table("factor", "level", "mean", "effect")
    assert len(table) == 5
    for _, row in table.iterrows():
        inside = [label for label in made.points if str(of.loc[label, row["factor"]]) == row["level"]]
        weights = {label: (label in inside) / len(inside) - 1 / 6 for label in made.points}
        found = panel.contrast(weights)
        assert numbers(row["mean"]) == shown(panel.scores(inside).mean())
        assert numbers(row["effect"]) == shown(found.estimate, *found.ends)


def test_interactions_have_their_twins(made: Made) -> None:
    # What an additive fit leaves of each cell: rows of the residual-making matrix.
    cells = made.twin.runs.drop_duplicates("label").set_index("label").loc[made.points, ["tau", "text"]]
    fit = ols("y ~ C(tau) + C(text)", cells.assign(y=0.0)).fit()
    leaves = np.eye(6) - fit.model.exog @ np.linalg.pinv(fit.model.exog)
    panel = made.twin.panel(MEAN, made.points)
    found = {
        label: panel.contrast(dict(zip(made.points, row, strict=True)))
        for label, row in zip(made.points, leaves, strict=True)
    }
    adjusted = dict(zip(found, holm([one.p_value for one in found.values()]), strict=True))
    table = made.table("point", "deviation", "p (Holm)")
    assert set(table["point"]) == set(made.points)
    sizes = [abs(found[label].estimate) for label in table["point"]]
    assert sizes == pytest.approx(sorted(sizes, reverse=True))
    for _, row in table.iterrows():
        one = found[row["point"]]
        assert numbers(row["deviation"]) == shown(one.estimate, *one.ends)
        assert numbers(row["p (Holm)"]) == pytest.approx([max(1e-3, adjusted[row["point"]])], abs=6e-4)


def test_the_pareto_front_has_its_twin(made: Made) -> None:
    costs = made.twin.runs.groupby("label")[["flops", "train_cpu_seconds"]].mean()
    costs["score"] = [made.twin.mean(label, MEAN).estimate for label in costs.index]
    methods = costs.drop("oracle")
    table = made.table("arm", "score", "TFLOP", "place", "sure").set_index("arm")
    drawn = pd.DataFrame(
        made.twin.panel(MEAN, list(methods.index)).draws(list(methods.index), 4000, np.random.default_rng(7)),
        columns=methods.index,
    )
    for label, row in methods.iterrows():
        rivals = methods[methods["flops"] <= 1.03 * row["flops"]]
        ahead = rivals["score"].idxmax()
        is_front = rivals["score"].max() <= row["score"]
        said = table.loc[label, "place"]
        assert said.startswith("front") == is_front
        if not is_front:
            lead = made.twin.difference(ahead, label, MEAN)
            assert said.startswith(f"behind {ahead} by ")
            assert numbers(said.rpartition(" by ")[2]) == shown(lead.estimate, *lead.ends)
        often = 100 * (drawn[rivals.index].max(axis=1) <= drawn[label]).mean()
        assert numbers(table.loc[label, "sure"]) == pytest.approx([often], abs=4)
    assert table.loc["oracle", "place"] == "no method"


def test_ranks_have_their_twins(made: Made) -> None:
    table = made.table("arm", "score", "ranks", "best").set_index("arm").drop("oracle")
    labels = [label for label in made.twin.runs["label"].unique() if label != "oracle"]
    panel = made.twin.panel(MEAN, labels)
    rng = np.random.default_rng(11)
    draws = panel.draws(labels, 4000, rng) + made.twin.other_tasks(labels, 4000, rng)
    ranges = rank_ranges(panel.scores(labels), draws)
    often = 100 * np.bincount(draws.argmax(axis=1), minlength=len(labels)) / 4000
    assert set(table.index) == set(labels)
    for label, (first, last), share in zip(labels, ranges, often, strict=True):
        said = numbers(table.loc[label, "ranks"].replace("-", " "))
        assert (said[0], said[-1]) == (first, last)
        assert numbers(table.loc[label, "best"]) == pytest.approx([share], abs=4)


def test_what_a_difference_takes_finds_it(made: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pgsbench.reporting.decision.forecast.DIFFERENCES", (0.13, 0.2, 0.3))
    known = 0
    for row in power_table(Results(made.frames)).cells():
        ours, theirs = row[0].split(" − ")
        wanted, seeds = float(row[1]) / 100, row[2]
        if seeds != "none":
            known += 1
            planned = [int(seeds), *([int(seeds) - 1] if seeds != "2" else [])]
            found = [made.twin.difference(ours, theirs, MEAN, num_seeds=number) for number in planned]
            enough, *fewer = (power(one, wanted) for one in found)
            assert enough > 0.77
            assert all(chance < 0.83 for chance in fewer)
            hours = made.twin.runs[made.twin.runs["label"].isin([ours, theirs])].groupby("label")
            spent = (hours["train_seconds"].mean() + hours["eval_seconds"].mean()).sum() / 3600
            assert numbers(row[3]) == pytest.approx([int(seeds) * spent], abs=0.051)
    assert known > 15
