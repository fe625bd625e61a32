"""The Pareto front: what is dominated is not on it, and costs that are as good as equal count as equal."""

from __future__ import annotations

from fabricated import Arm
from matplotlib.colors import to_hex

from pgsbench.reporting import figures
from pgsbench.reporting.answer import headline
from pgsbench.reporting.pareto import FLOPS, choose, costs_of, front_table, points_of
from pgsbench.reporting.results import Results
from pgsbench.reporting.study_frames import read_frames
from pgsbench.reporting.style import PAPER, pens

TERA = 10**12
ARMS = {
    "cheap": Arm(0.0, flops=10 * TERA),
    "worse": Arm(-10.0, flops=20 * TERA),  # behind cheap
    "good": Arm(10.0, flops=20 * TERA),
    "as-dear": Arm(3.0, flops=int(19.9 * TERA)),  # behind good, which costs half a percent more
    "dear": Arm(20.0, flops=40 * TERA),
    "oracle": Arm(30.0, flops=5 * TERA),
}


def results_of(fabricate, arms=ARMS, **options):
    return Results(read_frames(fabricate(arms, **{"seeds": (0, 1), "num_items": 400, **options})))


def test_dominated_points_are_not_on_the_front(fabricate):
    found = {one.label: one for one in points_of(results_of(fabricate), FLOPS)}
    assert [label for label, one in found.items() if one.is_on_front] == ["cheap", "good", "dear"]
    ahead = {label: one.ahead for label, one in found.items()}
    assert ahead == {**dict.fromkeys(ARMS), "as-dear": "good", "worse": "good"}
    assert found["dear"].on_front > 0.95
    assert found["worse"].on_front < 0.05
    assert found["oracle"].on_front is None


def test_what_is_not_surely_ahead_is_on_the_front_in_some_draws(fabricate):
    near = {"a": Arm(0.0, flops=10 * TERA), "b": Arm(0.0, flops=20 * TERA)}
    doubtful = {one.label: one.on_front for one in points_of(results_of(fabricate, near, name="near"), FLOPS)}
    assert doubtful["a"] == 1.0
    assert 0.05 < doubtful["b"] < 0.95


def test_there_is_no_front_where_operations_do_not_differ_or_are_not_known(fabricate):
    equal = {"a": Arm(0.0, flops=100 * TERA), "b": Arm(5.0, mask_ratio=0.0, flops=102 * TERA)}
    unknown = {"a": Arm(0.0), "b": Arm(5.0, mask_ratio=0.0)}
    for name, arms in (("equal", equal), ("unknown", unknown)):
        results = results_of(fabricate, arms, name=name)
        assert points_of(results, FLOPS) == []
        assert front_table(results).names[2] == "train s"
        assert figures.accuracy_cost(results).axes[0].get_xlabel().startswith("time")


def test_the_figure_marks_the_front_and_names_its_points(fabricate):
    (axes,) = figures.accuracy_cost(results_of(fabricate)).axes
    assert axes.get_xlabel() == "operations (TFLOP)"
    drawn = {bars.get_label(): bars.lines[0] for bars in axes.containers}
    filled = {arm for arm, line in drawn.items() if to_hex(line.get_markerfacecolor()) != PAPER}
    assert filled == {"cheap", "good", "dear"}
    assert {text.get_text() for text in axes.texts} == set(ARMS)
    (front,) = (line for line in axes.get_lines() if line.get_drawstyle() == "steps-post")
    assert list(front.get_xdata()) == [10, 20, 40, 40]


def test_where_every_point_is_the_oracle_s_there_is_no_front(fabricate):
    arms = [
        ("oracle", Arm(0.0, mask_ratio=ratio, params={"strategy.mask_ratio": ratio}, flops=int(cost * TERA)))
        for ratio, cost in ((0.25, 30), (0.5, 20))
    ]
    search = {"space": {"strategy.mask_ratio": [0.25, 0.5]}, "arms": ["oracle"]}
    results = results_of(fabricate, arms, search=search)
    (axes,) = figures.accuracy_cost(results).axes
    assert all(len(line.get_xdata()) < 2 for line in axes.get_lines() if line.get_drawstyle() == "steps-post")
    assert [row[3] for row in front_table(results).cells()] == ["no method"] * 2


def test_the_table_lists_the_front_first(fabricate):
    table = front_table(results_of(fabricate))
    assert table.names == ["arm", "score", "TFLOP", "place", "sure"]
    assert [row[0] for row in table.cells() if row[3] == "front"] == ["cheap", "good", "dear"]
    assert next(row for row in table.cells() if row[0] == "as-dear")[3].startswith("behind good by ")
    assert [row[3] == "front" for row in table.cells()] == [True] * 3 + [False] * 3


def searched(fabricate, metric):
    """Return a search over the ratio: half costs half, and three quarters a quarter."""
    effects = {0.25: (0.0, 30), 0.5: (-0.5, 20), 0.75: (-15.0, 10)}
    arms = [
        ("pgs", Arm(effect, mask_ratio=r, params={"strategy.mask_ratio": r}, flops=int(cost * TERA)))
        for r, (effect, cost) in effects.items()
    ]
    search = {"space": {"strategy.mask_ratio": list(effects)}, "arms": ["pgs"], "metric": metric}
    return results_of(fabricate, [("none", Arm(0.5, mask_ratio=0.0, flops=40 * TERA)), *arms], search=search)


def test_a_search_for_score_and_cost_is_answered_by_its_own_front(fabricate):
    results = searched(fabricate, ["mean", "-train_seconds"])
    assert front_table(results).names[2] == "train s"
    assert figures.accuracy_cost(results).axes[0].get_xlabel().startswith("time")
    assert headline(results).startswith("pgs mask_ratio=0.5 scores ")
    assert " times the time of the best, pgs mask_ratio=0.25 (" in headline(results)
    assert choose(results, within=1) == "pgs mask_ratio=0.5"


def test_tokens_are_those_of_both_towers(fabricate):
    results = searched(fabricate, ["mean", "-tokens"])
    points = {one.label: one.cost for one in points_of(results, costs_of(results)[0])}
    summary = results.study.of("none")[0].summary
    assert points["none"] == summary.visual_tokens + (summary.text_tokens or 0)


def test_a_search_for_a_score_alone_has_no_such_answer(fabricate):
    results = searched(fabricate, "mean")
    assert choose(results) == "pgs mask_ratio=0.25"
    assert choose(results, within=1) == "pgs mask_ratio=0.5"
    assert choose(results, within=50) == "pgs mask_ratio=0.75"


def test_more_arms_than_colours_still_look_different():
    looks = [(pen.colour, pen.marker) for pen in pens([f"a{k}" for k in range(20)]).values()]
    assert len(set(looks)) == 20
