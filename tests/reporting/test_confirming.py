"""After a search the winner meets its rivals again, with seeds that chose none of them."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest
from fabricated import Arm, write_runs
from tinyworld import TinyWorld

from pgsbench.config.schema import RunConfig
from pgsbench.errors import StudyError
from pgsbench.execution.estimate import Estimator
from pgsbench.reporting.results import Results
from pgsbench.reporting.study_frames import read_frames
from pgsbench.session.confirming import confirm, contenders
from pgsbench.session.opening import open_study
from pgsbench.session.study import Study
from pgsbench.study.budget import PairSeconds

SEARCH = {"space": {"strategy.mask_ratio": [0.25, 0.5]}, "arms": ["pgs", "flip"]}

#: The settings of the study itself.
OWN = {"strategy.mask_ratio": 0.5}


def searched(root, effects, *, beside=("none",), **options):
    arms = [
        (arm, Arm(effect, mask_ratio=ratio, params={"strategy.mask_ratio": ratio}))
        for arm, ratio, effect in effects
    ]
    arms += [*((name, Arm(mask_ratio=0.0)) for name in beside), ("oracle", Arm(30.0))]
    folder = write_runs(root, arms, seeds=(0, 4), num_items=120, seed_sd=0.0, search=SEARCH, **options)
    return Results(read_frames(folder))


def test_rivals_are_what_may_be_the_best_and_other_arms_but_no_oracle(tmp_path):
    far = [
        ("pgs", 0.25, 20.0),
        ("pgs", 0.5, 0.0),
        ("pgs", 0.75, 0.0),
        ("flip", 0.25, 0.0),
        ("flip", 0.5, 8.0),
    ]
    assert contenders(searched(tmp_path, far), OWN) == [
        "pgs mask_ratio=0.25",
        "flip mask_ratio=0.5",
        "pgs mask_ratio=0.5",  # the study's own ratio
        "none",
    ]
    near = [("pgs", 0.25, 20.0), ("pgs", 0.5, 20.0), ("flip", 0.25, 0.0), ("flip", 0.5, 8.0)]
    found = contenders(searched(tmp_path, near, name="near"), OWN)
    assert set(found[:2]) == {"pgs mask_ratio=0.25", "pgs mask_ratio=0.5"}
    alone = [("pgs", 0.25, 20.0), ("pgs", 0.5, 0.0)]
    assert contenders(searched(tmp_path, alone, beside=(), name="alone"), OWN) == [
        "pgs mask_ratio=0.25",
        "pgs mask_ratio=0.5",
    ]
    with pytest.raises(StudyError, match="one point and no rival"):
        contenders(searched(tmp_path, alone[:1], beside=(), name="one"), OWN)
    with pytest.raises(StudyError, match="no point"):
        contenders(Results(read_frames(write_runs(tmp_path, {"pgs": Arm()}, seeds=(0,), name="plain"))), OWN)


BUDGETS = ["{equal: tokens, amount: 20_000}", "{equal: seconds, amount: 8}"]


@pytest.mark.parametrize("budget", BUDGETS)
def test_a_budget_pays_for_the_pairs_that_the_search_was_trained_on(
    tiny: TinyWorld, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, budget: str
) -> None:
    timed: list[str] = []

    def seconds(_: Estimator, config: RunConfig) -> PairSeconds:  # each time it takes longer
        timed.append(config.strategy.name)
        return PairSeconds(masked=0.01 * len(timed), whole=0.02 * len(timed))

    monkeypatch.setattr(Estimator, "seconds", seconds)
    path = tmp_path / "study.yaml"
    path.write_text(
        f"data: {{train: {tiny.shards}}}\nmodel: tiny-vit\nstrategy: {{name: pgs, mask_ratio: 0.5}}\n"
        f"training: {{batch_size: 4}}\nbudget: {budget}\nevaluation: {{suite: '{tiny.suite}'}}\n"
        "arms: {none: {strategy: none}}\nsearch: {space: {strategy.mask_ratio: [0.5, 0.75]}}\n"
    )
    study = open_study(path, output=tmp_path, device="cpu")
    of_none, searched, _ = study.plan_sweep()
    specs = {spec.label: spec for spec in (*of_none, *searched)}
    monkeypatch.setattr("pgsbench.session.confirming.contenders", lambda *_: list(specs))
    found = SimpleNamespace(
        runs=[SimpleNamespace(seed=0)], of=lambda label: [SimpleNamespace(spec=specs[label])]
    )
    planned = []

    def compare(self: Study, baselines: list[str], *, seeds: list[int]) -> object:
        planned.extend(self.beside(self.design.with_seeds([0])).plan())
        return baselines

    monkeypatch.setattr(Study, "compare", compare)
    confirm(study, SimpleNamespace(statistics=SimpleNamespace(study=found)), seeds=2)  # type: ignore[arg-type]
    assert {spec.id for spec in planned} == {spec.id for spec in specs.values()}
    assert len({spec.config.training.samples for spec in planned}) > 1
    budgets = {spec.config.budget.equal for spec in planned if spec.config.budget}
    assert budgets == {budget[8:].partition(",")[0]}, "so the report knows that the arms spend the same"
