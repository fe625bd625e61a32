"""A study's numbers once more, from the files of its runs: by docs/statistics.md and textbooks alone.

Nothing of `pgsbench` is imported and nothing of it is copied, so that a mistake there is not made here, too:
mean squares are statsmodels', tests scipy's, tables pandas'. Letters: s seeds, i units (pictures).
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from scipy import stats
from statsmodels.formula.api import ols
from statsmodels.stats.anova import anova_lm
from statsmodels.stats.multitest import multipletests

MEAN = "mean of groups"
MARGIN = 0.01
#: A variance and its degrees of freedom, as other studies know how much seeds move one arm alone.
Prior = tuple[float, float]


class Estimate(NamedTuple):
    """An estimate with its standard error, 95 % t interval and two-sided p-value."""

    estimate: float
    error: float
    df: float
    num_seeds: int
    num_items: int

    @property
    def ends(self) -> tuple[float, float]:
        """Both ends of the interval."""
        return stats.t.interval(0.95, self.df, self.estimate, self.error)

    @property
    def p_value(self) -> float:
        """Of "the true value is 0"."""
        return 2 * stats.t.sf(abs(self.estimate) / self.error, self.df)

    @property
    def p_is_far(self) -> float:
        """Of "the true value is `MARGIN` or more from 0": the larger of two one-sided tests."""
        low = stats.t.sf((self.estimate + MARGIN) / self.error, self.df)
        return max(low, stats.t.cdf((self.estimate - MARGIN) / self.error, self.df))


class MeanSquares(NamedTuple):
    """Of a table of arms by seeds: what a seed does to all arms, and to each on its own."""

    seeds: float
    own: float
    noise_seeds: float
    noise_own: float


@dataclass(frozen=True)
class Panel:
    """All arms that have every task of a scope under the seeds that some of them share.

    Attributes:
        means: Label x seed: the score.
        pulls: Label -> (s, i) how much each unit pulls the score.
        pseudo: Variance of two pseudo-items a task (Agresti & Coull 1998; Bonett & Price 2012).
    """

    means: pd.DataFrame
    pulls: Mapping[str, np.ndarray]
    pseudo: float

    @cached_property
    def mean_squares(self) -> MeanSquares:
        """Two-way analysis of variance without replication; the noise is that of the units, summed."""
        long = self.means.rename_axis("arm").reset_index().melt("arm", var_name="seed", value_name="score")
        lines = anova_lm(ols("score ~ C(arm) + C(seed)", long).fit(), typ=2)
        mean_sq = lines["sum_sq"] / lines["df"]
        arms, seeds = self.means.shape
        of_units = np.array([self.pulls[label] for label in self.means.index])
        of_seeds = of_units.mean(axis=0).var(axis=0, ddof=1).sum() * arms
        both = of_units.var(axis=1, ddof=1).sum() * (seeds - 1) - of_seeds * (seeds - 1)
        return MeanSquares(
            mean_sq["C(seed)"], mean_sq["Residual"], of_seeds, both / ((arms - 1) * (seeds - 1))
        )

    def scores(self, labels: Sequence[str]) -> np.ndarray:
        """(a,) mean over seeds."""
        return self.means.loc[list(labels)].mean(axis=1).to_numpy()

    def contrast(self, weights: Mapping[str, float], **planned: Any) -> Estimate:
        """Return a weighted sum of arms; further arguments are those of `spread`."""
        estimate = sum(weight * self.means.loc[label].mean() for label, weight in weights.items())
        variance, df = spread(self, weights, **planned)
        num_units = next(iter(self.pulls.values())).shape[1]
        return Estimate(float(estimate), math.sqrt(variance), df, self.means.shape[1], num_units)

    def draws(self, labels: Sequence[str], count: int, rng: np.random.Generator) -> np.ndarray:
        """Draw (count, a) scores by other units, normal, and other seeds, a multivariate t."""
        pulls = np.array([self.pulls[label].mean(axis=0) for label in labels])
        of_units = pulls @ pulls.T + np.eye(len(labels)) * self.pseudo / 2
        found, (arms, seeds) = self.mean_squares, self.means.shape
        of_seeds = np.eye(len(labels)) * max(0.0, found.own - found.noise_own) / seeds
        drawn = rng.multivariate_normal(self.scores(labels), of_units, count)
        shifts = stats.multivariate_t(shape=of_seeds, df=(arms - 1) * (seeds - 1), allow_singular=True)
        return drawn + shifts.rvs(count, random_state=rng)


def spread(
    panel: Panel,
    weights: Mapping[str, float],
    prior: Prior | None = None,
    *,
    num_seeds: int | None = None,
) -> tuple[float, float]:
    """Return variance and degrees of freedom of a contrast: MS(items) + MS(seeds) - MS(rest).

    Weights that sum to 0 cancel what a seed does to all arms. The degrees of freedom are Satterthwaite's, no
    less than those of seeds.

    Args:
        panel: The arms.
        weights: Label -> weight.
        prior: What other studies say of the mean square of what a seed does to one arm alone.
        num_seeds: As many seeds as are planned; None: today's.
    """
    arms, seeds = panel.means.shape
    w = np.array(list(weights.values()))
    pulled = sum(weight * panel.pulls[label] for label, weight in weights.items()).mean(axis=0)
    items = float(pulled @ pulled) + panel.pseudo * max(1.0, w @ w / 2)
    item_df = len(pulled) - 1
    if seeds == 1:
        return items, item_df
    planned, found = num_seeds or seeds, panel.mean_squares
    own, own_df = found.own, (arms - 1) * (planned - 1)
    if prior is not None:
        known, known_df = prior
        own = (known_df * known + own_df * own) / (known_df + own_df)
        own_df += known_df
    alike = w.sum() ** 2 / arms
    alone = w @ w - alike
    noise = alike * found.noise_seeds + alone * found.noise_own
    parts = [
        (items - noise / seeds + noise / planned, item_df),
        (alike * found.seeds / planned, planned - 1),
        (alone * own / planned, own_df),
        (-noise / planned, item_df),
    ]
    total = sum(part for part, _ in parts)
    assert total > parts[0][0], "the made-up study lets seeds matter"
    return total, max(planned - 1, total**2 / sum(part**2 / df for part, df in parts))


class Twin:
    """A study as its runs left it.

    Args:
        folder: ``runs/<study>``.
        names: Path of a searched value -> its name in labels.
    """

    def __init__(self, folder: Path, names: Mapping[str, str]) -> None:
        rows, runs = [], []
        for path in sorted(folder.glob("*/spec.json")):
            run, spec = path.parent, json.loads(path.read_text())
            chosen = {name: spec["params"][key] for key, name in names.items() if key in spec["params"]}
            label = " ".join([spec["arm"], *(f"{name}={value}" for name, value in chosen.items())])
            summary = json.loads((run / "summary.json").read_text())
            runs.append(
                {"label": label, "arm": spec["arm"], "seed": spec["config"]["seed"], **chosen} | summary
            )
            for score in json.loads((run / "scores.json").read_text())["scores"]:
                if score["primary"]:
                    with np.load(run / score["per_sample"]) as arrays:
                        of_items = {"unit": arrays["items"], "value": arrays["values"].astype(float)}
                    keys = {key: score[key] for key in ("group", "task", "chance")}
                    rows.append(
                        pd.DataFrame({"label": label, "seed": spec["config"]["seed"], **keys, **of_items})
                    )
        self.values = pd.concat(rows, ignore_index=True)
        self.runs = pd.DataFrame(runs)
        self._panels: dict[tuple[str, frozenset[str]], Panel] = {}
        self._scopes: dict[str, tuple[pd.Series, pd.DataFrame, pd.DataFrame]] = {}

    def tasks(self, of: str) -> pd.Series:
        """Task -> its weight in a scope: equal in its group, and groups equal in their mean."""
        tasks = self.values.drop_duplicates("task").set_index("task")["group"]
        if of in tasks.index:
            return pd.Series({of: 1.0})
        share = 1 / tasks.groupby(tasks).transform("size")
        return share / tasks.nunique() if of == MEAN else share[tasks == of]

    def chance(self, of: str) -> float:
        """What guessing scores."""
        return float((self.values.groupby("task")["chance"].first() * self.tasks(of)).sum())

    def panel(self, of: str, labels: Iterable[str]) -> Panel:
        """Return the panel of a scope with some arms."""
        weights, rows, has_all = self._scope(of)
        seeds = has_all.columns[has_all.loc[list(labels)].all()]
        arms = has_all.index[has_all[seeds].all(axis=1)]
        key = of, frozenset([*arms, *map(str, seeds)])
        if key not in self._panels:
            rows = rows[rows["label"].isin(arms) & rows["seed"].isin(seeds)].copy()
            by_task = rows.groupby(["label", "seed", "task"])["value"]
            n = by_task.transform("size")
            share = rows["task"].map(weights) / n
            rows["part"] = share * rows["value"]
            rows["pull"] = share * (rows["value"] - by_task.transform("mean")) * np.sqrt(n / (n - 1))
            means = rows.groupby(["label", "seed"])["part"].sum().unstack()
            pulls = rows.pivot_table("pull", ["label", "seed"], "unit", "sum", fill_value=0.0)
            sizes = rows.groupby("task")["unit"].nunique()
            pseudo = float((weights**2 * 2 / (sizes + 2) ** 2).sum())
            by_label = {label: of_label.to_numpy() for label, of_label in pulls.groupby(level="label")}
            self._panels[key] = Panel(means, by_label, pseudo)
        return self._panels[key]

    def _scope(self, of: str) -> tuple[pd.Series, pd.DataFrame, pd.DataFrame]:
        """Return the weights of a scope's tasks, its values, and which runs (label x seed) have all of it."""
        if of not in self._scopes:
            weights = self.tasks(of)
            rows = self.values[self.values["task"].isin(weights.index)]
            count = rows.groupby(["label", "seed"])["task"].nunique().unstack(fill_value=0)
            self._scopes[of] = weights, rows, count == len(weights)
        return self._scopes[of]

    def mean(self, label: str, of: str) -> Estimate:
        """Return the mean of an arm."""
        return self.panel(of, [label]).contrast({label: 1.0})

    def difference(self, ours: str, theirs: str, of: str, **planned: Any) -> Estimate:
        """Return one arm minus another; further arguments are those of `spread`."""
        return self.panel(of, [ours, theirs]).contrast({ours: 1.0, theirs: -1.0}, **planned)

    def other_tasks(self, labels: Sequence[str], count: int, rng: np.random.Generator) -> np.ndarray:
        """Draw (count, a) what other tasks would add to the mean: those of each group, with replacement."""
        by_task = (
            self.values.groupby(["label", "seed", "task"])["value"].mean().groupby(["task", "label"]).mean()
        )
        tasks = self.values.drop_duplicates("task").groupby("group")["task"].agg(list)
        moved = np.zeros((count, len(labels)))
        for names in tasks:
            scores = by_task.unstack().loc[names, list(labels)].to_numpy()
            picked = rng.integers(len(names), size=(count, len(names)))
            moved += (scores[picked].mean(axis=1) - scores.mean(axis=0)) / len(tasks)
        return moved


def holm(p_values: Sequence[float]) -> np.ndarray:
    """Return Holm's p-values."""
    return multipletests(p_values, method="holm")[1]


def outcomes(family: Sequence[Estimate]) -> list[str]:
    """Return the verdicts on a family: either kind of test is corrected by itself."""
    both = zip(
        family, holm([one.p_value for one in family]), holm([one.p_is_far for one in family]), strict=True
    )
    return [
        ("better" if one.estimate > 0 else "worse")
        if p < 0.05
        else "equivalent"
        if far < 0.05
        else "undecided"
        for one, p, far in both
    ]


def rank_ranges(scores: np.ndarray, draws: np.ndarray) -> list[tuple[int, int]]:
    """Return the first and the last rank of each arm: simultaneous intervals of all pairs (MRSW 2024)."""
    errors = draws - draws.mean(axis=0)
    pairs = [(j, k) for j in range(len(scores)) for k in range(len(scores)) if j != k]
    lead_sd = {pair: (errors[:, pair[0]] - errors[:, pair[1]]).std() for pair in pairs}
    largest = np.max([np.abs(errors[:, j] - errors[:, k]) / lead_sd[j, k] for j, k in pairs], axis=0)
    reach = np.quantile(largest, 0.95)
    beats = [(j, k) for j, k in pairs if scores[j] - scores[k] > reach * lead_sd[j, k]]
    count = len(scores)
    return [
        (1 + sum(k == arm for _, k in beats), count - sum(j == arm for j, _ in beats)) for arm in range(count)
    ]


def power(found: Estimate, difference: float) -> float:
    """Return the chance that a two-sided t-test at 5 % finds a true difference: by the noncentral t."""
    return stats.nct.sf(stats.t.ppf(0.975, found.df), found.df, difference / found.error)
