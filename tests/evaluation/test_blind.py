"""What captions give away without a picture."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from pgsbench.evaluation.embed import Encoder
from pgsbench.evaluation.protocols.compositional import Compositional, blind_accuracy

COLOURS, SHAPES = ("red", "green", "blue", "white", "black"), ("ring", "star", "cross", "square", "circle")
PICTURES = [f"{i}.png" for i in range(1000)]


def captions(seed: int, template: str) -> list[str]:
    draw = random.Random(seed)
    return [template.format(draw.choice(COLOURS), draw.choice(SHAPES)) for _ in PICTURES]


def test_templated_negatives_are_told_without_a_picture() -> None:
    found = blind_accuracy(captions(0, "a {} {}"), captions(1, "a {} {} and a dog"), PICTURES)
    assert found == 1.0


def test_negatives_drawn_like_the_captions_tell_nothing() -> None:
    found = blind_accuracy(captions(0, "a {} {}"), captions(1, "a {} {}"), PICTURES)
    assert found == pytest.approx(0.5, abs=0.05)


def test_what_is_true_of_one_picture_is_not_learned_from_it() -> None:
    # Each picture has a word of its own, in all its right captions: by heart it would be found every time.
    right = [f"word{i} {colour}" for i in range(40) for colour in COLOURS]
    wrong = [f"other{i} {colour}" for i in range(40) for colour in COLOURS]
    assert blind_accuracy(right, wrong, [f"{i}" for i in range(40) for _ in COLOURS]) == 0.5


def test_the_score_of_pairs_says_it(data: Path, encode: Encoder) -> None:
    (found,) = Compositional("swap_att").measure(data / "pairs", encode)
    assert found.details.startswith("blind text-only baseline: ")
    assert found.chance == 0.5
