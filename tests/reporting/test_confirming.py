"""After a search the winner meets its rivals again, with seeds that chose none of them."""

from __future__ import annotations

import pytest
from fabricated import Arm, write_runs
from tinyworld import TinyWorld

from pgsbench.errors import StudyError
from pgsbench.reporting.results import Results
from pgsbench.reporting.study_frames import read_frames
from pgsbench.reporting.study_results import StudyResults
from pgsbench.session.confirming import confirm, contenders
from pgsbench.session.study import Study, open_study

SEARCH = {"space": {"strategy.mask_ratio": [0.25, 0.5]}, "arms": ["pgs", "flip"]}


def searched(root, effects, *, beside=("none",), **options):
    arms = [
        (arm, Arm(effect, mask_ratio=ratio, params={"strategy.mask_ratio": ratio}))
        for arm, ratio, effect in effects
    ]
    arms += [*((name, Arm(mask_ratio=0.0)) for name in beside), ("oracle", Arm(30.0))]
    folder = write_runs(root, arms, seeds=(0, 4), num_items=120, seed_sd=0.0, search=SEARCH, **options)
    return Results(read_frames(folder))


def test_rivals_are_what_may_be_the_best_and_other_arms_but_no_oracle(tmp_path):
    far = [("pgs", 0.25, 20.0), ("pgs", 0.5, 0.0), ("flip", 0.25, 0.0), ("flip", 0.5, 8.0)]
    assert contenders(searched(tmp_path, far)) == ["pgs mask_ratio=0.25", "flip mask_ratio=0.5", "none"]
    near = [("pgs", 0.25, 20.0), ("pgs", 0.5, 20.0), ("flip", 0.25, 0.0), ("flip", 0.5, 8.0)]
    found = contenders(searched(tmp_path, near, name="near"))
    assert set(found[:2]) == {"pgs mask_ratio=0.25", "pgs mask_ratio=0.5"}
    alone = [("pgs", 0.25, 20.0), ("pgs", 0.5, 0.0)]
    assert contenders(searched(tmp_path, alone, beside=(), name="alone")) == [
        "pgs mask_ratio=0.25",
        "pgs mask_ratio=0.5",
    ]
    with pytest.raises(StudyError, match="one point and no rival"):
        contenders(searched(tmp_path, alone[:1], beside=(), name="one"))
    with pytest.raises(StudyError, match="no point"):
        contenders(Results(read_frames(write_runs(tmp_path, {"pgs": Arm()}, seeds=(0,), name="plain"))))


def test_the_study_of_fresh_seeds_trains_what_the_search_trained(tiny: TinyWorld, tmp_path, monkeypatch):
    points = [("pgs", 0.5, 20.0), ("pgs", 0.75, 0.0), ("flip", 0.5, 8.0), ("flip", 0.75, 0.0)]
    results = StudyResults(searched(tmp_path / "made", points, beside=()))
    asked = []

    def compare(self, baselines, *, seeds):
        asked.append((self.name, baselines, self.file.config.seeds))
        configs = {arm: self.file.run_config(arm, {}, 5) for arm in self.arms}
        asked.append({arm: (one.strategy.name, one.strategy.mask_ratio) for arm, one in configs.items()})
        return results

    monkeypatch.setattr(Study, "compare", compare)
    study = open_study(tiny.study, output=tmp_path, jobs=1)
    assert study.beside(study.file)._counts is study._counts  # "8 trained" is of both
    assert confirm(study, results, seeds=2) is results
    assert asked[0] == ("tiny-confirm", ["flip-mask_ratio-0.5"], [5, 6])
    assert asked[1] == {
        "pgs": ("pgs", 0.5),
        "flip-mask_ratio-0.5": ("flip", 0.5),
    }
