"""Main effects and interactions of a grid: additive data have no interaction, a planted one is found."""

from __future__ import annotations

import itertools
import json
import shutil

import numpy as np
import pandas as pd
import pytest
from fabricated import Arm

from pgsbench.reporting.effects import REST, SEEDS, Effects, analysis_of_variance, effects, effects_tables
from pgsbench.reporting.pages.study_report import write_report
from pgsbench.reporting.render import as_json
from pgsbench.reporting.results import Results
from pgsbench.reporting.statistics.comparison import Missing
from pgsbench.reporting.study_frames import read_frames
from pgsbench.reporting.sweep import sweep_table

IMAGES = {"pgs": 6.0, "flip": 0.0, "resize": 3.0, "tome": -3.0}
TEXTS = {"none": 2.0, "frequency": 0.0, "random": -4.0}
SEARCH = {"arms": list(IMAGES), "space": {"text.strategy": list(TEXTS)}}


def factorial(planted: float = 0.0) -> list[tuple[str, Arm]]:
    """Every image way with every text way; `planted` points more where resize meets random."""
    return [
        (
            image,
            Arm(
                effect=IMAGES[image] + TEXTS[text] + planted * ((image, text) == ("resize", "random")),
                params={"text.strategy": text},
            ),
        )
        for image, text in itertools.product(IMAGES, TEXTS)
    ]


@pytest.fixture
def found(fabricate):
    def of(planted: float = 0.0, **options) -> Effects:
        options = {"search": SEARCH, "seeds": (0, 1, 2), "num_items": 400, **options}
        results = Results(read_frames(fabricate(factorial(planted), **options)))
        told = effects(results)
        assert isinstance(told, Effects)
        return told

    return of


def terms_of(cells, scores):
    return analysis_of_variance(dict(enumerate(cells)), pd.DataFrame(scores))


def shares(cells, scores):
    return {term.name: term.share for term in terms_of(cells, scores)}


def test_shares_are_those_of_a_textbook():
    # Two factors of two levels, two seeds: by hand, sums of squares 8 (arm), 2 (r), 0, and 8 x 0.01, of which
    # a quarter is the same shift by the seed in all cells.
    cells = [{"arm": a, "r": r} for a, r in itertools.product(("pgs", "flip"), ("1", "2"))]
    shift = np.array([[-0.1, 0.1], [-0.1, 0.1], [-0.1, 0.1], [0.1, -0.1]])
    scores = np.array([[3.0], [4.0], [1.0], [2.0]]) + shift
    total = 8 + 2 + 0.08
    expected = {"arm": 8, "r": 2, "arm × r": 0.0, SEEDS: 0.02, REST: 0.06}
    assert shares(cells, scores) == pytest.approx({name: part / total for name, part in expected.items()})


def test_three_factors_have_all_their_interactions():
    cells = [dict(zip("abc", levels, strict=True)) for levels in itertools.product("12", "123", "12")]
    scores = np.random.default_rng(0).normal(size=(12, 2))
    names = [term.name for term in terms_of(cells, scores)]
    assert names == ["a", "b", "c", "a × b", "a × c", "b × c", "a × b × c", SEEDS, REST]


def test_paths_that_end_alike_are_two_factors(fabricate):
    space = {"strategy.threshold": [0.1, 0.5], "text.threshold": [0.01, 0.02, 0.03]}
    points = [dict(zip(space, values, strict=True)) for values in itertools.product(*space.values())]
    arms = [
        ("pgs", Arm(60 * p["strategy.threshold"] + 10 * (p["text.threshold"] == 0.03), params=p))
        for p in points
    ]
    results = results_of(fabricate(arms, search={"space": space}, seeds=(0, 1), num_items=400))
    told = effects(results)
    assert [term.name for term in told.terms[:2]] == list(space)
    assert {(one.factor, one.level) for one in told.levels} == {
        (path, str(level)) for path, levels in space.items() for level in levels
    }
    table = sweep_table(results)
    assert list(table.names[:3]) == ["arm", *space]
    rows = json.loads(as_json(table))[table.title]
    shown = {(float(row["strategy.threshold"]), float(row["text.threshold"])) for row in rows}
    assert len(shown) == 5
    assert shown <= {tuple(point.values()) for point in points}


def test_additive_data_have_no_interaction(found):
    told = found()
    assert all(one.adjusted_p > 0.05 for one in told.deviations)
    assert len(told.deviations) == 12


def test_a_planted_interaction_is_found_and_its_cell_named(found):
    told = found(planted=12.0)
    first = told.deviations[0]
    assert first.label == "resize text=random"
    assert first.adjusted_p < 0.01
    # Of the 12 points the main effects take 12/4 + 12/3 - 12/12.
    assert first.interval.low < 0.06 < first.interval.high
    interaction = next(term for term in told.terms if term.name == "arm × text")
    assert interaction.p_value < 0.01


def results_of(folder):
    return Results(read_frames(folder))


def test_one_seed_cannot_tell(fabricate, tmp_path):
    results = results_of(fabricate(factorial(), search=SEARCH, seeds=(0,)))
    told = effects(results)
    assert isinstance(told, Missing)
    assert "one seed" in told.reason
    assert effects_tables(results) == []
    paths = write_report(results, tmp_path / "out")
    for page in ((paths / "report.md"), (paths / "report.html")):
        assert "What each setting does cannot be told: with one seed" in page.read_text()


def test_cells_that_lack_a_seed_or_are_not_there_cannot_tell(fabricate):
    folder = fabricate(factorial(), search=SEARCH, seeds=(0, 1))
    shutil.rmtree(next(folder.glob("tome-s1-*")))
    assert "same seeds" in effects(results_of(folder)).reason
    folder = fabricate(factorial()[1:], search=SEARCH, seeds=(0, 1), name="less")
    assert effects(results_of(folder)).reason == "the grid has 11 of 12 points"


def test_points_of_an_older_wider_grid_are_left_out(fabricate):
    narrow = {"arms": ["pgs", "flip"], "space": {"text.strategy": ["none", "random"]}}
    told = effects(results_of(fabricate(factorial(), search=narrow, seeds=(0, 1))))
    assert isinstance(told, Effects)
    assert [one.level for one in told.levels] == ["pgs", "flip", "none", "random"]


def test_only_a_grid_has_effects(fabricate):
    sampled = {**SEARCH, "sampler": "tpe", "trials": 12}
    assert effects(results_of(fabricate(factorial(), search=sampled, seeds=(0, 1)))) is None
    assert effects(results_of(fabricate(seeds=(0, 1), name="plain"))) is None
