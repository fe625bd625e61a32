"""The recipe of the training data as a setting: checked, searched, part of what a run is and is tested on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from tinyworld import TinyWorld

from pgsbench.config.data import named
from pgsbench.data import store
from pgsbench.errors import ConfigError, DataError
from pgsbench.evaluation.identity import current_fingerprint
from pgsbench.evaluation.suite import following, load_suite, suite_of
from pgsbench.experiment import is_complete, run_once
from pgsbench.study.design import Design
from pgsbench.study.open import open_study_file
from pgsbench.study.plan import Planner
from pgsbench.worlds import scenes
from pgsbench.worlds.scenes import recipe_with

SMALL = scenes.Recipe(
    num_train=64, train_shard=64, num_single=24, num_shifted=8, num_retrieval=24, num_pairs=2
)


def few_with(knobs: Mapping[str, float]) -> scenes.Recipe:
    return replace(SMALL, knobs=recipe_with(knobs).knobs)


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    """Scenes are few, with any knobs."""
    monkeypatch.setattr(scenes, "recipe_with", few_with)
    monkeypatch.setattr(scenes.Recipe, "num_train", SMALL.num_train)  # the default, which names leave out


def opened(tiny: TinyWorld, *overrides: str) -> Design:
    suite = tiny.folder / "scenes-some.yaml"
    suite.write_text(
        "name: some\ntasks:\n"
        "- {name: s/shape, data: 'scenes:shape', protocol: zero_shot, group: classification}\n"
        "- {name: s/retrieval, data: 'scenes:retrieval', protocol: retrieval, group: retrieval}\n"
    )
    basics = ("data.train=scenes", f"evaluation.suite={suite}", "search=null")
    return open_study_file(tiny.study, overrides=[*basics, *overrides])


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("data.recipe={cluter: 0.5}", "data.recipe.cluter: scenes have no such knob; they have clutter"),
        ("data.recipe={clutter: 2}", r"data.recipe.clutter: must be a number in 0..1 \(got 2.0\)"),
        ("data.recipe={num_train: 0.5}", r"data.recipe.num_train: must be a whole number in 1..1,000,000"),
        ("data.recipe={clutter: yes}", "data.recipe.clutter: .*number"),
        ("arms.flip.data.recipe={context: -1}", "arms.flip.data.recipe.context: must be a number in 0..1"),
        (
            "data={train: tiny-imagenet, recipe: {clutter: 1}}",
            "data.recipe.clutter: this data set has no knobs",
        ),
        ("data={train: some/where, recipe: {clutter: 1}}", "only a built-in data set is made by a recipe"),
        ("search.space={data.recipe.clutter: [0.2, 3]}", "search.space.data.recipe.clutter .*0..1"),
        ("search.space={data.recipe.cluter: [0.2, 0.3]}", "search.space.data.recipe.cluter .*no such knob"),
    ],
)
def test_mistakes_in_a_recipe_are_told_where_they_stand(tiny: TinyWorld, override: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        opened(tiny, override)


def test_names_and_knobs_are_joined_and_split() -> None:
    assert named("scenes", {}) == "scenes"
    name = named("scenes", {"context": 0.125, "clutter": 1})
    assert name == "scenes?clutter=1&context=0.125"
    assert store.split(name) == ("scenes", {"clutter": 1.0, "context": 0.125})
    with pytest.raises(DataError, match="clutter: a knob is set to a number"):
        store.split("scenes?clutter=much")


def test_a_suite_follows_the_training_data() -> None:
    suite = load_suite("scenes-quick")
    followed = following(suite, "scenes?clutter=0.11")
    assert {task.data.partition(":")[0] for task in followed.tasks} == {"scenes?clutter=0.11"}
    assert [task.name for task in followed.tasks] == [task.name for task in suite.tasks]
    for source in ("scenes", f"scenes?clutter={scenes.Knobs().clutter}", "tiny-imagenet", "/some/shards"):
        assert following(suite, source) == suite


@pytest.mark.usefixtures("few")
def test_a_run_is_tested_on_the_sets_of_its_own_recipe(tiny: TinyWorld, tmp_path: Path) -> None:
    study = opened(tiny, "training.samples=32", "data.recipe.context=1")
    planner = Planner(study)
    plain, busy = (planner.spec("none", 0, {"data.recipe.clutter": value}) for value in (0.0, 1.0))
    assert plain.id != busy.id
    assert plain.label == "none clutter=0"
    fingerprints = []
    for spec in (plain, busy):
        store.ensure(spec.config.data.source)
        run = run_once(spec, runs_root=tmp_path, device=torch.device("cpu"))
        mine = current_fingerprint(suite_of(spec))
        assert run.scores is not None
        assert run.scores.suite_fingerprint == mine
        assert is_complete(run, mine)
        fingerprints.append(mine)
    assert fingerprints[0] != fingerprints[1]
    assert not is_complete(run, fingerprints[0])
    clutters = {
        store.read_manifest(path.parent).recipe["knobs"]["clutter"]
        for path in store.root().glob(f"scenes-*/{store.MANIFEST}")
    }
    assert {0.0, 1.0} <= clutters
