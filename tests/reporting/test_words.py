"""An example of each sentence: plain, and a headline in at most twenty words."""

# ruff: noqa: E501 (sentences stand whole)

from __future__ import annotations

import pytest

from pgsbench.reporting import words
from pgsbench.reporting.render import Estimate

AHEAD, BEHIND, NEAR = (
    Estimate(0.021, 0.011, 0.032),
    Estimate(-0.034, -0.045, -0.024),
    Estimate(0.0, -0.01, 0.01),
)
HEADLINES = {
    "pgs is better than flip by 2.1 points (1.1 to 3.2).": words.against_one("pgs", "flip", "better", AHEAD),
    "pgs is worse than none at mask_ratio=0.5 by 3.4 points (2.4 to 4.5).": words.against_one(
        "pgs", "none", "worse", BEHIND, at="mask_ratio=0.5"
    ),
    "pgs is as good as flip, within 1.0 points: 0.0 points (−1.0 to +1.0).": words.against_one(
        "pgs", "flip", "equivalent", NEAR, margin=0.01
    ),
    "pgs against flip is not decided yet: 0.0 points (−1.0 to +1.0); three more seeds would.": words.against_one(
        "pgs", "flip", "undecided", NEAR, seeds=3
    ),
    "pgs and flip are the same training.": words.against_one("pgs", "flip", "the same training", NEAR),
    "flip is better than pgs (+2.1), worse than none (−3.4); not decided yet against grid; one more seed would.": (
        words.against_few(
            "flip",
            {"pgs": ("better", AHEAD), "none": ("worse", BEHIND), "grid": ("undecided", NEAR)},
            seeds=1,
        )
    ),
    "flip is better than pgs (+2.1, +1.1 to +3.2); not decided yet against grid; five more seeds would.": words.against_few(
        "flip", {"pgs": ("better", AHEAD), "grid": ("undecided", NEAR)}, seeds=5
    ),
    "flip is not decided yet against grid.": words.against_few("flip", {"grid": ("undecided", NEAR)}),
    "grid is the best of 11 (45.4); pgs is worse by 3.4 points (2.4 to 4.5).": words.best_of_many(
        "grid", 0.454, 11, sure=True, ours="pgs", outcome="worse", lead=BEHIND
    ),
    "grid scores highest of 11 (45.4); pgs against it is not decided: 0.0 points (−1.0 to +1.0).": (
        words.best_of_many("grid", 0.454, 11, sure=False, ours="pgs", outcome="undecided", lead=NEAR)
    ),
    "pgs is the best of 3 (45.4).": words.best_of_many("pgs", 0.454, 3, sure=True),
    "flip at mask_ratio 0.25 is the best of 9 points (45.4); whole pictures score 46.1.": words.best_point(
        "flip at mask_ratio 0.25", 0.454, 9, rivals=[], whole=0.461
    ),
    "flip at mask_ratio 0.25 scores highest (45.4), but pgs at mask_ratio 0.5 may be as good.": words.best_point(
        "flip at mask_ratio 0.25", 0.454, 9, rivals=["pgs at mask_ratio 0.5"]
    ),
    "flip at mask_ratio 0.25 scores highest (45.4), but two other points may be as good.": words.best_point(
        "flip at mask_ratio 0.25", 0.454, 9, rivals=["a", "b"]
    ),
    "text moves scores most (44 % of the variance), then arm (39 %); tome text=none scores highest (4.0).": (
        words.what_moves({"arm": 0.39, "text": 0.44}, "tome text=none", 0.04)
    ),
    "None of edge and otn moves scores measurably.": words.nothing_moves(["edge", "otn"]),
    "none gives most: 45.4 for 10.3 TFLOP; flip costs least: 42.2 for 5.1.": words.most_for_least(
        [("flip", 0.422, 5.1), ("none", 0.454, 10.3)], "TFLOP"
    ),
    "grid gives most for least: 44.6 for 6.8 TFLOP.": words.most_for_least([("grid", 0.446, 6.8)], "TFLOP"),
    "pgs mask_ratio=0.5 scores 44.6 at 0.66 times the time of the best, none (45.4).": words.cheap_enough(
        "pgs mask_ratio=0.5", 0.446, "none", 0.454, 0.66, "time"
    ),
    "none scores highest (45.4), and nothing near it costs less.": words.cheap_enough(
        "none", 0.454, "none", 0.454, 1.0, "time"
    ),
    "flip holds the lead at all three budgets; the prediction held.": words.as_budgets_grow(
        ["flip"] * 3, ["flip", "pgs"], foretold=True
    ),
    "flip leads at the smallest budget, pgs at the largest; the curves cross at 12 TFLOP.": words.as_budgets_grow(
        ["flip", "pgs"], ["flip", "pgs"], "12 TFLOP"
    ),
    "scenes orders 11 arms as photos does: Spearman 0.73 (0.45 to 1.00).": words.orders_alike(
        "scenes", "photos", 11, "0.73 (0.45 to 1.00)", 1
    ),
    "flat orders 5 arms the other way round than photos does: Spearman −0.90 (−1.00 to −0.60).": (
        words.orders_alike("flat", "photos", 5, "−0.90 (−1.00 to −0.60)", -1)
    ),
    "Whether flat orders 5 arms as photos does is not decided: Spearman 0.20 (−0.50 to 0.90).": (
        words.orders_alike("flat", "photos", 5, "0.20 (−0.50 to 0.90)", 0)
    ),
    "Of two worlds good orders 6 arms most like photos: Spearman 0.90 (0.60 to 1.00).": words.orders_alike(
        "good", "photos", 6, "0.90 (0.60 to 1.00)", 1, 2
    ),
}


@pytest.mark.parametrize("expected", HEADLINES)
def test_a_headline_is_a_plain_sentence_of_twenty_words(expected):
    assert HEADLINES[expected] == expected
    assert len(expected.split()) <= words.MAX_WORDS


def test_what_has_no_room_is_left_out_of_a_headline():
    name = "pgs with a name of many words that nobody would give to an arm"
    said = words.against_one(name, "flip", "undecided", NEAR, seeds=3)
    assert "more seeds" not in said
    assert said.endswith("(−1.0 to +1.0).")


def test_badges_have_few_words_and_a_sentence():
    for kind, one in words.BADGES.items():
        assert len(one.short.split()) <= 5, kind
        assert one.sentence.endswith((".", "{how}")), kind
    said = words.badge("large margin", share=50, baseline="flip", score="2.0", smaller=0.2)
    assert said.sentence == (
        "The margin is 50 % of the score of flip (2.0). A smaller one: `pgsbench compare --until decided --margin 0.2`."
    )
    assert words.first_three(["a", "b", "c"]) == "a; b; c"
    assert words.first_three(list("abcde")) == "a; b; c; 2 others"


def test_what_an_answer_rests_on_is_one_line():
    said = words.basis("the mean of groups", 3, 3561, 10, ["two looks"], "1.0 points")
    assert said == (
        "The mean of groups, 3 seeds, 3,561 test items, 95 % intervals, corrected for 10 comparisons and two looks, "
        "less than 1.0 points do not matter."
    )
